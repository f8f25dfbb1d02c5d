/** What a command ends with. Documented in docs/cli.md; they never change. */
export const EXIT = {
  ok: 0,
  /** The deployment failed, or `doctor` has found a fault. */
  failed: 1,
  usage: 2,
  notSignedIn: 3,
  denied: 4,
  notFound: 5,
  conflict: 6,
  invalid: 7,
  rateLimited: 8,
  unreachable: 9,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** A failure of the command itself: a sentence that says what is wrong and what to do, and what the command ends with. */
export class Failure extends Error {
  readonly exit: ExitCode;
  readonly code: string;

  constructor(exit: ExitCode, code: string, message: string) {
    super(message);
    this.name = "Failure";
    this.exit = exit;
    this.code = code;
  }
}

export const usage = (message: string): Failure => new Failure(EXIT.usage, "usage", message);
