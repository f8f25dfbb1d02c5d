import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fail, ROOT } from "./local.ts";
import { limitsList } from "./limitable-fields.ts";
import { narrowMarkdown } from "./narrow-markdown.ts";
import { readOperations, SERVICES, writeOperations } from "./operations.ts";
import { coverageTable, differing, presetList } from "./vendor-groups.ts";

/**
 * Prints the table of what the gateway covers, from vendor/operations.
 *
 * - `--list` adds every operation in its last two columns.
 * - `--write` writes it into docs/gateway.md, with the list of presets, and the list of limits into docs/grants.md.
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
  for (const [file, name, made] of [
    ["docs/gateway.md", "coverage", coverageTable()],
    ["docs/gateway.md", "presets", presetList()],
    ["docs/grants.md", "limits", limitsList()],
  ] as const) {
    const text = readFileSync(join(ROOT, file), "utf8");
    const [begin, end] = [`<!-- ${name}: written by \`npm run coverage -- --write\` -->\n\n`, `\n<!-- /${name} -->`];
    const [from, to] = [text.indexOf(begin), text.indexOf(end)];
    if (from === -1 || to === -1) fail(`${file} has no place between\n${begin.trim()} and${end}`);
    const narrow = await narrowMarkdown(`${made}\n`);
    writeFileSync(join(ROOT, file), text.slice(0, from + begin.length) + narrow + text.slice(to));
  }
}
console.log(coverageTable());
for (const service of args.includes("--list") ? SERVICES : []) {
  for (const { method, path, group, classification } of differing(service)) {
    console.log(service, method, path, group, classification);
  }
}
