import { createInterface } from "node:readline/promises";
import type { ReadStream } from "node:tty";
import { EXIT, Failure, usage } from "./failure.ts";
import { visible } from "./visible.ts";

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

/** Asks for a line. */
export async function ask(terminal: Terminal, question: string): Promise<string> {
  const lines = createInterface({ input: terminal.stdin, output: terminal.stderr });
  try {
    return (await lines.question(question)).trim();
  } finally {
    lines.close();
  }
}

const ENTER = new Set(["\r", "\n", "\u0004"]);
const ERASE = new Set(["\u007f", "\b"]);

/** Asks for a line without showing what is typed. @throws {Failure} if it is interrupted. */
export async function askSecret({ stdin, stderr }: Terminal, question: string): Promise<string> {
  const input = stdin as ReadStream;
  stderr.write(question);
  input.setRawMode(true);
  input.setEncoding("utf8");
  input.resume();
  try {
    return await new Promise<string>((resolve, reject) => {
      let typed = "";
      const onData = (chunk: string): void => {
        for (const char of chunk) {
          if (char === "\u0003") {
            input.off("data", onData);
            reject(new Failure(EXIT.interrupted, "interrupted", "Interrupted."));
            return;
          }
          if (ENTER.has(char)) {
            input.off("data", onData);
            resolve(typed.trim());
            return;
          }
          typed = ERASE.has(char) ? typed.slice(0, -1) : typed + char;
        }
      };
      input.on("data", onData);
    });
  } finally {
    input.setRawMode(false);
    input.pause();
    stderr.write("\n");
  }
}

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
  const answer = await ask(terminal, `${question} ${wanted} `);
  const isYes = typed === undefined ? /^y(?:es)?$/i.test(answer) : answer === typed;
  if (!isYes) throw new Failure(EXIT.failed, "cancelled", "Cancelled: nothing was changed.");
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
