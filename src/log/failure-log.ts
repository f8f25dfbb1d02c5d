/** Something failed behind the answers: a line of JSON for Workers Logs, under a name to search by. Holds no credential. */
export function logFailure(event: string, cause: unknown, about: Readonly<Record<string, unknown>> = {}): void {
  console.error(JSON.stringify({ event, ...about, cause: String(cause) }));
}
