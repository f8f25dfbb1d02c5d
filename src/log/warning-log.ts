/** Logs what an operator should correct although the Worker runs without it, as a line of JSON for Workers Logs. */
export function logWarning(message: string): void {
  console.warn(JSON.stringify({ event: "warning", message }));
}
