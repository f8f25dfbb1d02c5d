import { BASE_URL } from "./local.ts";

/** What a demonstration prints, and whether all of it was as it says. */
let failures = 0;
let steps = 0;

const colour = (code: number, text: string): string =>
  process.stdout.isTTY ? `\u001b[${code}m${text}\u001b[0m` : text;

export function step(title: string): void {
  console.log(`\n${colour(1, `${++steps}. ${title}`)}`);
}

export function say(text: string): void {
  console.log(`     ${text}`);
}

export function check(claim: string, holds: boolean): void {
  console.log(`   ${holds ? colour(32, "✓") : colour(31, "✗")} ${claim}`);
  if (!holds) failures++;
}

/** Tries until there is a result, for so many seconds at the most. */
export async function until<Result>(
  claim: string,
  attempt: () => Promise<Result | undefined>,
  seconds = 10,
): Promise<Result> {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline;) {
    const result = await attempt();
    if (result !== undefined) {
      check(claim, true);
      return result;
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  check(claim, false);
  return end(`Waited ${seconds} seconds in vain for: ${claim}.`);
}

export interface Answer {
  status: number;
  text: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- every endpoint answers in its own shape
  body: any;
}

/** One request to the gateway, printed with its status. Tokens and keys are not printed. */
export async function call(
  method: string,
  path: string,
  { token, body, quiet }: { token?: string; body?: unknown; quiet?: boolean } = {},
): Promise<Answer> {
  const response = await fetch(BASE_URL + path, {
    method,
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "content-type": "application/json" }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!quiet) say(`${colour(36, `${method} ${path}`)} → ${response.status}`);
  try {
    return { status: response.status, text, body: JSON.parse(text) };
  } catch {
    return { status: response.status, text, body: {} };
  }
}

/** Ends the demonstration: with the reason, with the count of what failed, or well. */
export function end(reason?: string): never {
  if (reason !== undefined) console.error(`\n${reason}`);
  else
    console.log(
      failures === 0 ? "\nEverything was as it says.\n" : `\n${failures} of the claims above did not hold.\n`,
    );
  process.exit(reason === undefined && failures === 0 ? 0 : 1);
}
