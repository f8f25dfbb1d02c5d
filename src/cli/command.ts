import type { Values } from "./arguments.ts";
import type { Connection } from "./connection.ts";
import type { ExitCode } from "./failure.ts";
import type { OptionName } from "./options.ts";
import type { Terminal } from "./terminal.ts";

/** What a command is run with. */
export interface Call {
  readonly terminal: Terminal;
  /** The words after those that name the command. */
  readonly words: readonly string[];
  readonly values: Values;
  readonly isJson: boolean;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** How long one answer of the deployment may take, in milliseconds. */
  readonly timeout: number;
  /**
   * The deployment, with the credentials that there are for it.
   *
   * @param options.anonymous whether the command does something for those who are not signed in, too.
   * @throws {Failure} if nobody is signed in, and it is not `anonymous`.
   */
  connect(options?: { anonymous?: boolean }): Promise<Connection>;
  /** The address of the deployment. */
  url(): Promise<string>;
  /** Prints a line, or several, for people. */
  print(text: string): void;
  /** Prints a value for programs. */
  printJson(value: unknown): void;
  /** Says something beside the result, on standard error. */
  note(text: string): void;
}

/** One command. The list of them is what the help, the completion and the documentation are made from. */
export interface Command {
  /** The words that name it. */
  readonly path: readonly string[];
  /** The words that follow, as the help shows them. */
  readonly takes: string;
  readonly words: { readonly min: number; readonly max: number };
  readonly summary: string;
  readonly options: readonly OptionName[];
  run(call: Call): Promise<ExitCode | void>;
}

/** Prints a result: as JSON if that is asked for, and otherwise as text. */
export function show(call: Call, value: unknown, text: () => string): void {
  if (call.isJson) call.printJson(value);
  else call.print(text());
}
