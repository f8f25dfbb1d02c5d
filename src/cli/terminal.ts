import type { ReadStream } from "node:tty";
import { EXIT, Failure, usage } from "./failure.ts";
import { visible, widthOf } from "./visible.ts";

/** What a command reads from and writes to. */
export interface Terminal {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Whether somebody sits at it, who can be asked. */
export const canAsk = ({ stdin, stderr }: Terminal): boolean => stdin.isTTY && stderr.isTTY;

/** All of standard input as text, at most so many characters. @throws {Failure} */
export async function readStdin({ stdin }: Terminal, maxLength: number): Promise<string> {
  stdin.setEncoding("utf8");
  let text = "";
  for await (const chunk of stdin) {
    text += String(chunk);
    if (text.length > maxLength) throw usage(`Standard input is longer than ${maxLength} characters.`);
  }
  return text;
}

/** One line that is asked for. */
interface Question {
  readonly text: string;
  /** Not shown while it is typed. */
  readonly isSecret?: boolean;
  /** Enter alone is an answer too. */
  readonly mayBeEmpty?: boolean;
}

const CTRL_C = "\u0003";
const CTRL_D = "\u0004";
const CTRL_U = "\u0015";
const ENTER = new Set(["\r", "\n"]);
const ERASE = new Set(["\u007f", "\b"]);
/** What keys such as the arrows send (ECMA-48 §5.4). */
// oxlint-disable-next-line no-control-regex
const ESCAPES = /\u001b(?:[[O][\d;]*[ -~]?)?/g;

/**
 * Asks for lines, one after the other. The terminal itself shows nothing until the last is answered, so that a secret is not seen
 * either if it is pasted together with the line before it, or typed before it is asked for.
 *
 * @returns the answers, without white space around them.
 * @throws {Failure} after Ctrl-C, and after Ctrl-D or the end of the terminal.
 */
export async function askLines({ stdin, stderr }: Terminal, questions: readonly Question[]): Promise<string[]> {
  const input = stdin as ReadStream;
  const answers: string[] = [];
  let typed: string[] = [];
  const takeChar = (char: string): void => {
    const question = questions[answers.length];
    if (question === undefined) return;
    const show = (text: string): void => void (question.isSecret || stderr.write(text));
    if (char === CTRL_C) throw new Failure(EXIT.interrupted, "interrupted", "Interrupted.");
    if (char === CTRL_D && typed.length === 0) throw cancelled();
    if (ENTER.has(char)) {
      const answer = typed.join("").trim();
      // Of a pasted line that ends in two characters, the second is no answer.
      if (answer === "" && !question.mayBeEmpty) return;
      answers.push(answer);
      typed = [];
      stderr.write(`\n${questions[answers.length]?.text ?? ""}`);
    } else if (ERASE.has(char) || char === CTRL_U) {
      const erased = typed.splice(char === CTRL_U ? 0 : -1);
      show("\b \b".repeat(widthOf(erased.join(""))));
    } else if (visible(char) === char) {
      typed.push(char);
      show(char);
    }
  };
  input.setRawMode(true);
  input.setEncoding("utf8");
  stderr.write(questions[0]?.text ?? "");
  try {
    await new Promise<void>((resolve, reject) => {
      input.on("end", () => reject(cancelled()));
      input.on("data", (chunk: string) => {
        try {
          for (const char of chunk.replace(ESCAPES, "")) takeChar(char);
        } catch (error) {
          stderr.write("\n");
          reject(error as Error);
        }
        if (answers.length === questions.length) resolve();
      });
    });
    return answers;
  } finally {
    input.removeAllListeners("data");
    input.removeAllListeners("end");
    input.setRawMode(false);
    input.pause();
  }
}

const cancelled = (): Failure => new Failure(EXIT.failed, "cancelled", "Cancelled: nothing was changed.");

/**
 * Asks whether to go on, and returns if the answer is yes.
 *
 * @param typed what has to be typed instead of yes, for what cannot be undone.
 * @throws {Failure} for any other answer, or if nobody can be asked and `--yes` was not given.
 */
export async function confirm(
  terminal: Terminal,
  question: string,
  { isConfirmed, typed }: { isConfirmed: boolean; typed?: string },
): Promise<void> {
  if (isConfirmed) return;
  if (!canAsk(terminal)) throw usage(`${question} Nobody can be asked here: repeat the command with --yes.`);
  const wanted = typed === undefined ? "[y/N]" : `Type ${visible(typed)} to go on:`;
  const [answer = ""] = await askLines(terminal, [{ text: `${question} ${wanted} `, mayBeEmpty: true }]);
  const isYes = typed === undefined ? /^y(?:es)?$/i.test(answer) : answer === typed;
  if (!isYes) throw cancelled();
}

/** Shows how far long work is, on the terminal only. */
export function progress({ stderr }: Terminal): { show(text: string): void; end(): void } {
  let isShown = false;
  return {
    show(text) {
      if (!stderr.isTTY) return;
      stderr.write(`\r\u001b[K${visible(text)}`);
      isShown = true;
    },
    end() {
      if (isShown) stderr.write("\r\u001b[K");
      isShown = false;
    },
  };
}
