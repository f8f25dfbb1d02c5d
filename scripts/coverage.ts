import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fail, ROOT } from "./local.ts";
import { limitsTable } from "./limitable-fields.ts";
import { readOperations, SERVICES, writeOperations } from "./operations.ts";
import { coverageTable, differing, presetTable } from "./vendor-groups.ts";

/**
 * Prints the table of what the gateway covers, from vendor/operations.
 *
 * - `--list` adds every operation in its last two columns.
 * - `--write` replaces it in docs/gateway.md, the table of presets there, and that of limits in docs/grants.md.
 * - `--classify SERVICE` first rewrites vendor/operations/SERVICE.txt with the permissions that the gateway requires.
 */
const args = process.argv.slice(2);

if (args[0] === "--classify") {
  const service = args[1] ?? "";
  if (!SERVICES.includes(service)) fail(`"${service}" is not a built-in service. There are ${SERVICES.join(", ")}.`);
  const operations = readOperations(service);
  writeOperations(service, operations);
  console.log(
    `vendor/operations/${service}.txt: ${operations.length} operations. Read the difference before you commit it.`,
  );
}
if (args.includes("--write")) {
  for (const [file, table] of [
    ["docs/gateway.md", coverageTable()],
    ["docs/gateway.md", presetTable()],
    ["docs/grants.md", limitsTable()],
  ] as const) {
    const text = readFileSync(join(ROOT, file), "utf8");
    const [header = ""] = table.split("\n");
    const begin = text.indexOf(header);
    if (begin === -1) fail(`${file} has no table that begins with\n${header}`);
    const end = begin + text.slice(begin).search(/\n(?!\|)/);
    writeFileSync(join(ROOT, file), text.slice(0, begin) + table + text.slice(end));
  }
}
console.log(coverageTable());
for (const service of args.includes("--list") ? SERVICES : []) {
  for (const { method, path, group, classification } of differing(service)) {
    console.log(service, method, path, group, classification);
  }
}
