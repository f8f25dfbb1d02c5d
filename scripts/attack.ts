import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runAttack, listOf, withList, type Result, type Row } from "../test/attack/run.ts";
import { fail, readDevVars, ROOT } from "./local.ts";

/**
 * Attacks a gateway on this machine:
 * `npm run attack -- [--url http://127.0.0.1:PORT] [--seed N] [--size small|full] [--only FAMILY]… [--port N] [--write]`.
 * Without a URL it starts the Worker itself. It prints the table of docs/security.md, which `--write` puts there, and ends with 1 if
 * anything got through.
 */
const { values } = parseArgs({
  options: {
    url: { type: "string" },
    seed: { type: "string", default: "1" },
    size: { type: "string", default: "full" },
    only: { type: "string", multiple: true, default: [] },
    port: { type: "string" },
    write: { type: "boolean", default: false },
  },
});
const { url, size } = values;
const seed = Number(values.seed);
const port = Number(values.port ?? (url === undefined ? 0 : 8791));
if (size !== "small" && size !== "full") fail("--size is small or full.");
if (!Number.isSafeInteger(seed) || seed < 0) fail("--seed is a whole number.");
if (!Number.isInteger(port) || port < 0 || port > 65_535) fail("--port is a number from 0 to 65535.");

const bootstrapToken = process.env.ADMIN_BOOTSTRAP_TOKEN ?? readDevVars().ADMIN_BOOTSTRAP_TOKEN ?? "";
const began = performance.now();
const results = await runAttack({
  seed,
  size,
  port,
  bootstrapToken,
  only: values.only,
  onResult: report,
  ...(url !== undefined && { url }),
}).catch((error: Error) => fail(error.message));

const rows = results.map(({ family: { name, wants }, tried, through, failure }): Row => ({
  name,
  wants,
  tried,
  through: failure === undefined && tried > 0 ? String(through.length) : "not tried",
}));
console.log(`\n${listOf(rows)}`);
if (values.write) {
  if (size !== "full" || values.only.length > 0) fail("--write is for the whole attack: leave --size and --only out.");
  const page = join(ROOT, "docs/security.md");
  writeFileSync(page, await withList(readFileSync(page, "utf8"), rows));
}
for (const note of new Set(results.flatMap(({ skipped }) => skipped))) console.log(`\nSkipped: ${note}`);
const seconds = ((performance.now() - began) / 1000).toFixed(0);
console.log(`\nSeed ${seed}, size ${size}, ${seconds} s.`);
process.exit(results.every(({ through, failure }) => through.length === 0 && failure === undefined) ? 0 : 1);

/** One line for a family, and a few of those inputs that got through. */
function report({ family, tried, through, failure, seconds }: Result): void {
  const verdict = failure === undefined ? `${through.length} of ${tried} got through` : `failed: ${failure}`;
  console.log(
    `${through.length === 0 && failure === undefined ? "ok    " : "FAILED"}  ${family.name}: ${verdict}  (${seconds.toFixed(1)} s)`,
  );
  for (const line of through.slice(0, 8)) console.log(`          ${line}`);
}
