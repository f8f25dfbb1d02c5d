import { narrowMarkdown } from "../../scripts/narrow-markdown.ts";
import { FAMILIES } from "./families.ts";
import type { Family, Size } from "./family.ts";
import { startGateway } from "./gateway.ts";
import { labOf, type Target } from "./lab.ts";
import { startReaders } from "./readers.ts";
import { startUpstream } from "./upstream.ts";
import { settingsFor } from "./vault.ts";

/** What came of one family. */
export interface Result {
  readonly family: Family;
  readonly tried: number;
  readonly through: readonly string[];
  readonly skipped: readonly string[];
  /** Why it could not be tried to its end. */
  readonly failure?: string;
  readonly seconds: number;
}

export interface Options {
  readonly seed: number;
  readonly size: Size;
  /** Names of the families to try; all where it is empty. */
  readonly only?: readonly string[];
  /** A gateway that runs already. Without it one is started. */
  readonly url?: string;
  /** Its `ADMIN_BOOTSTRAP_TOKEN`. */
  readonly bootstrapToken?: string;
  /** Where the hostile upstream listens; 0 for any port that is free. */
  readonly port?: number;
  readonly onResult?: (result: Result) => void;
}

/**
 * Tries every family against a gateway on this machine.
 *
 * @throws {Error} if the URL is not this machine's, or the gateway there does not stand before the hostile upstream.
 */
export async function runAttack({
  seed,
  size,
  only = [],
  url,
  bootstrapToken = "",
  port = 0,
  onResult,
}: Options): Promise<Result[]> {
  if (url !== undefined && !/^http:\/\/127\.0\.0\.1:\d+\/?$/.test(url)) {
    throw new Error(`${url} is not attacked: only http://127.0.0.1:PORT is.`);
  }
  const upstream = await startUpstream(port);
  const readers = await startReaders();
  const gateway = url === undefined ? await startGateway(upstream, { limits: "none" }) : undefined;
  try {
    const running = {
      origin: new URL(url ?? gateway!.origin).origin,
      bootstrapToken,
      isLimited: true,
      standingTtlMs: 5000,
      refreshGraceMs: 10_000,
    };
    const target: Target = { upstream, readers, ...(gateway ?? running) };
    if (!gateway) await assertReady(target);
    const lab = await labOf(target);
    const results: Result[] = [];
    for (const family of FAMILIES) {
      if (only.length > 0 && !only.includes(family.name)) continue;
      const { inputs, run } = family.plan(seed, size);
      const began = performance.now();
      const seconds = () => (performance.now() - began) / 1000;
      upstream.forget();
      const result = await run(lab).then(
        ({ through, skipped = [], isUntried = false }): Result => ({
          family,
          tried: isUntried ? 0 : inputs.length,
          through,
          skipped,
          seconds: seconds(),
        }),
        (error: Error): Result => ({
          family,
          tried: inputs.length,
          through: [],
          skipped: [],
          failure: error.message,
          seconds: seconds(),
        }),
      );
      results.push(result);
      onResult?.(result);
    }
    return results;
  } finally {
    await gateway?.stop();
    readers.stop();
    upstream.close();
  }
}

async function assertReady({ origin, upstream }: Target): Promise<void> {
  const listed = await fetch(`${origin}/permissions/list`)
    .then((answer) => answer.json() as Promise<{ permissions?: object }>)
    .catch(() => undefined);
  if (listed === undefined) throw new Error(`Nothing answers at ${origin}.`);
  if ("vault" in (listed.permissions ?? {})) return;
  const lines = Object.entries(settingsFor(upstream.url)).map(([name, value]) => `${name}='${value}'`);
  throw new Error(
    `The gateway at ${origin} does not stand before the hostile upstream. Start it with these lines in .dev.vars:\n${lines.join("\n")}`,
  );
}

/** A row of the table in docs/security.md. */
export interface Row {
  readonly name: string;
  readonly wants: string;
  readonly tried: number;
  /** How many got through, or that it could not be tried. */
  readonly through: string;
}

export const listOf = (rows: readonly Row[]): string =>
  rows
    .map(
      ({ name, wants, tried, through }) =>
        `- **${name}**: ${wants}. Tried ${tried.toLocaleString("en")} times, got through: ${through}\n`,
    )
    .join("");

const [BEGIN, END] = ["<!-- attack: made by `npm run attack -- --write` -->\n\n", "\n<!-- /attack -->"];

/** The rows of the list that stands in the page. */
export function rowsIn(page: string): Row[] {
  const list = page.slice(page.indexOf(BEGIN) + BEGIN.length, page.indexOf(END)).replaceAll(/\s+/g, " ");
  return [...list.matchAll(/\*\*([^*]+)\*\*: (.*?)\. Tried ([\d,]+) times, got through: ([\d,]+|not tried)/g)].map(
    ([, name = "", wants = "", tried = "", through = ""]) => ({
      name,
      wants,
      tried: Number(tried.replaceAll(",", "")),
      through,
    }),
  );
}

/** The page with another list. @throws {Error} if the page has no place for one. */
export async function withList(page: string, rows: readonly Row[]): Promise<string> {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin === -1 || end < begin) throw new Error("The page has no place for the list.");
  return page.slice(0, begin + BEGIN.length) + (await narrowMarkdown(listOf(rows))) + page.slice(end);
}
