/** Logs a failure in the background as a line of JSON for Workers Logs. @param event a name to search by. */
export function logFailure(event: string, cause: unknown, about: Readonly<Record<string, unknown>> = {}): void {
  console.error(JSON.stringify({ event, ...about, cause: String(cause) }));
}
