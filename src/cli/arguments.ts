import { parseArgs } from "node:util";
import { usage } from "./failure.ts";

/** An option: a switch, a value, or a value that may be given several times. */
export interface Option {
  readonly type: "switch" | "value" | "list";
  readonly help: string;
  /** The values that there are, for completion. */
  readonly values?: readonly string[];
  /** What the value is called in the help. */
  readonly value?: string;
}

export interface Values {
  /** Whether a switch is given. */
  has(name: string): boolean;
  text(name: string): string | undefined;
  list(name: string): readonly string[];
}

/**
 * What no argument may hold: other programs of the machine read them (`ps`), and shells keep them. API keys, tokens of agents and of
 * people, links, secrets of webhooks, and JSON Web Tokens.
 */
const SECRET = /\b(?:ak|rt|ps|psl|pcl)_[0-9A-Za-z]{20,}|\bwhsec_|\beyJ[\w-]+\.[\w-]+\.[\w-]+/;

/** @throws {Failure} for an argument that is a secret. The message does not quote it. */
export function refuseSecrets(argv: readonly string[]): void {
  if (!argv.some((argument) => SECRET.test(argument))) return;
  throw usage(
    "An argument has a key or a token in it, which other programs can read and your shell has kept. Rotate it, and give the new one when `agentauth login` asks, on standard input, or in AGENTAUTH_API_KEY.",
  );
}

export interface Parsed {
  readonly words: readonly string[];
  readonly values: Values;
  /** The names of the options that are given. */
  readonly given: readonly string[];
}

/**
 * Parses arguments by these options: words and options may stand in any order, `--` ends the options.
 *
 * @throws {Failure} for an unknown option, and for a missing or superfluous value.
 */
export function parseArguments(argv: readonly string[], options: Readonly<Record<string, Option>>): Parsed {
  const config = Object.fromEntries(
    Object.entries(options).map(([name, { type }]) => [
      name,
      type === "switch"
        ? { type: "boolean" as const }
        : { type: "string" as const, ...(type === "list" && { multiple: true as const }) },
    ]),
  );
  try {
    const { values, positionals } = parseArgs({
      args: argv.map((one) => (one === "-h" ? "--help" : one)),
      options: config,
      allowPositionals: true,
    });
    const found = values as Record<string, string | boolean | string[] | undefined>;
    return {
      words: positionals,
      given: Object.keys(found),
      values: {
        has: (name) => found[name] === true,
        text: (name) => {
          const value = found[name];
          return typeof value === "string" ? value : undefined;
        },
        list: (name) => {
          const value = found[name];
          return Array.isArray(value) ? value : [];
        },
      },
    };
  } catch (error) {
    // Node's message names the option; what follows its first sentence is for programmers.
    const [sentence = ""] = (error as Error).message.split(/\. |\n/);
    throw usage(`${sentence.replace(/\.$/, "")}. \`agentauth help\` lists the commands and their options.`);
  }
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Reads a point of time: `15m`, `2h`, `7d` before now, or RFC 3339.
 *
 * @returns RFC 3339 in UTC.
 * @throws {Failure}
 */
export function readTime(text: string, option: string, now: number): string {
  const [, amount, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (amount !== undefined && unit !== undefined) {
    return new Date(now - Number(amount) * UNITS[unit]!).toISOString();
  }
  const time = /^\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d))?$/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(time)) {
    throw usage(`--${option} must be a time such as 15m, 2h, 7d or 2026-11-23T10:00:00Z.`);
  }
  return new Date(time).toISOString();
}

/** Reads a whole number. @throws {Failure} */
export function readNumber(text: string | undefined, option: string, { min, max }: { min: number; max: number }) {
  if (text === undefined) return undefined;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  throw usage(`--${option} must be a whole number from ${min} to ${max}.`);
}
