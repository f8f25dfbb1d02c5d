/** What a test sees of a response. */
export interface Answer {
  status: number;
  headers: Headers;
  // Test code reads answers of every shape; each test asserts the one it means.
  // oxlint-disable-next-line typescript/no-explicit-any
  body: any;
}
