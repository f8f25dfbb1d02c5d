import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fail, ROOT } from "./local.ts";

/**
 * Writes the skeleton of a new built-in service into every file that names the services, and says what is left to do.
 *
 * `npm run new -- service pagerduty incidents:read,write users:read --base-url https://api.pagerduty.com --title PagerDuty`
 *
 * The skeleton grants nothing: it has no rules. Tests fail, one for each part that only a person can write, and each failure
 * names the file and what belongs there.
 */
const USAGE = `npm run new -- service NAME RESOURCE:ACTIONS… [--base-url URL] [--title NAME]

  NAME              lower-case letters and digits: the first part of its permissions and of its path below /proxy
  RESOURCE:ACTIONS  incidents:read or incidents:read,write
  --base-url URL    the origin of the API and its path, without a slash at the end; leave it out if each customer has a host
  --title NAME      the vendor's spelling, which is the name in the SDK: PagerDuty`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { "base-url": { type: "string" }, title: { type: "string" } },
});
const [kind, name = "", ...resourceTexts] = positionals;
if (kind !== "service" || resourceTexts.length === 0) fail(USAGE);
if (!/^[a-z][a-z0-9]{0,31}$/.test(name)) {
  fail(`"${name}" cannot be the name of a service: use lower-case letters and digits.\n\n${USAGE}`);
}

const title = values.title ?? name[0]!.toUpperCase() + name.slice(1);
if (!/^[A-Z]/.test(title) || title.toLowerCase() !== name) {
  fail(`--title must be "${name}" with other capitals, and the first letter is one.`);
}

const baseUrl = values["base-url"];
if (baseUrl !== undefined && (URL.parse(baseUrl)?.protocol !== "https:" || /[/?#]$|[?#@]/.test(baseUrl))) {
  fail("--base-url must be an https URL without a user name, a query, a fragment and a slash at the end.");
}

const resources = resourceTexts.map((text) => {
  const [, resource, actions] = /^([a-z][a-z0-9_]{0,31}):(read|read,write)$/.exec(text) ?? [];
  if (!resource || !actions) fail(`"${text}" is not a resource with its actions, for example incidents:read,write.`);
  return { resource, actions: actions.split(",") };
});
const permissions = resources.flatMap(({ resource, actions }) => actions.map((action) => `${resource}:${action}`));

const RULES = `src/policy/services/${name}.ts`;
const OPERATIONS = `vendor/operations/${name}.txt`;
if (existsSync(join(ROOT, RULES))) fail(`${RULES} is there already: choose another name.`);

const quoted = (list: readonly string[]): string => list.map((text) => `"${text}"`).join(", ");
const pascalCase = (text: string): string =>
  text
    .split("_")
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))
    .join("");

/** The new text of each file. Nothing is written before all texts are known. */
const changed = new Map<string, string>();

function edit(file: string, change: (text: string) => string | undefined): void {
  const text = changed.get(file) ?? readFileSync(join(ROOT, file), "utf8");
  const after = change(text);
  if (after === undefined)
    fail(`${file} does not look as expected, and nothing was changed. Adapt scripts/new.ts to it.`);
  changed.set(file, after);
}

/** Adds an entry at the end of the object that is declared as `const NAME`. */
const addEntry = (file: string, declared: string, entry: string): void =>
  edit(file, (text) => {
    const begin = text.search(new RegExp(`^(?:export )?const ${declared}\\b`, "m"));
    const end = text.indexOf("\n}", begin);
    return begin === -1 || end === -1 ? undefined : `${text.slice(0, end)}\n  ${entry}${text.slice(end)}`;
  });

/** Adds a row at the end of the table that has this header. */
const addRow = (file: string, header: string, row: string): void =>
  edit(file, (text) => {
    const begin = text.indexOf(`\n${header}\n`);
    if (begin === -1) return undefined;
    const after = text.slice(begin + 1).search(/\n(?!\|)/);
    const end = after === -1 ? text.trimEnd().length : begin + 1 + after;
    return `${text.slice(0, end)}\n${row}${text.slice(end)}`;
  });

changed.set(
  RULES,
  `import type { ServiceDefinition } from "../service-definition.ts";

/** ${title}: link the vendor's reference here. */
export const ${name}: ServiceDefinition = {
  name: "${name}",${baseUrl === undefined ? "" : `\n  baseUrl: "${baseUrl}",`}
  credential: { scheme: "bearer" },
  // Only what a rule matches can be called with ${permissions[0]}. \`docs/gateway.md\` describes the grammar of rules.
  rules: [],
};
`,
);
changed.set(OPERATIONS, "");

edit("src/policy/services.ts", (text) => {
  const imports = [...text.matchAll(/^import \{ \w+ \} from "\.\/services\/\w+\.ts";\n/gm)].at(-1);
  const list = /(BUILT_IN_SERVICES: readonly ServiceDefinition\[\] = \[[^\]]*?),?(\s*\];)/;
  if (!imports || !list.test(text)) return undefined;
  const end = imports.index + imports[0].length;
  const imported = `import { ${name} } from "./services/${name}.ts";\n`;
  return `${text.slice(0, end)}${imported}${text.slice(end)}`.replace(list, `$1, ${name}$2`);
});
addEntry(
  "src/permissions/catalogue.ts",
  "BUILT_IN_CATALOGUE",
  `${name}: { ${resources.map(({ resource, actions }) => `${resource}: [${quoted(actions)}]`).join(", ")} },`,
);
addEntry(
  "src/client/permissions.ts",
  "SERVICES",
  `${title}: { ${resources.map(({ resource, actions }) => `${pascalCase(resource)}: ${actions.length === 2 ? "rw" : "r"}`).join(", ")} },`,
);
addEntry("scripts/vendor-groups.ts", "RESOURCES", `${name}: {},`);
addEntry("test/policy/services.test.ts", "CASES", `${name}: {},`);
addEntry("test/outside/operations.test.ts", "MIN_OPERATIONS", `${name}: 1,`);
addEntry("test/conformance/service.ts", "CATALOGUE", `${name}: [${quoted(permissions)}],`);
addRow("vendor/README.md", "| service | source |", `| ${name} | |`);
addRow("docs/gateway.md", "| service | secrets |", `| ${name} | \`TOKEN\` |`);
addRow(
  "docs/configuration.md",
  "| service | secrets | base URL |",
  `| \`${name}\` | \`${name.toUpperCase()}_TOKEN\` | ${baseUrl === undefined ? `yours: \`UPSTREAMS.${name}.base_url\`` : `\`${baseUrl}\``} |`,
);

for (const [file, text] of changed) writeFileSync(join(ROOT, file), text);
const run = (command: string, ...args: string[]): void => {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: ROOT, encoding: "utf8" });
  if (status !== 0) fail(`${command} ${args.join(" ")} failed:\n${stdout}${stderr}`);
};
run(join(ROOT, "node_modules/.bin/oxfmt"), ...[...changed.keys()].filter((file) => file.endsWith(".ts")));
run(process.execPath, "scripts/coverage.ts", "--write");

// What the command above writes, beside docs/gateway.md.
const written = [...changed.keys(), "docs/grants.md"];

console.log(`Changed:
${written.map((file) => `  ${file}`).join("\n")}

Now write, in this order:
  ${RULES}: the rules, and the credential if it is not a Bearer token
  test/policy/services.test.ts: requests of each permission ("GET /path": "${name}:${permissions[0]}"), and one that no
    rule may match ("GET /other": "uncovered")
  src/policy/services/limits/${name}.ts: what grants may limit, as \`limits\` of the service; and in DENIED of
    test/policy/limits-tables.test.ts the other rules, each with the reason
  ${OPERATIONS}: every operation that the vendor publishes, one a line, as "METHOD /path | group";
    then \`npm run coverage -- --classify ${name}\` adds the permission that the gateway assigns to each: review them
  test/outside/operations.test.ts: the least number of operations
  scripts/vendor-groups.ts: the vendor's group of each resource
  vendor/README.md: where the operations come from
  \`npm run coverage -- --write\`: the counts in docs/gateway.md, and the limits in docs/grants.md

What is missing is a failing test each:
  npx vitest run test/policy/services.test.ts test/policy/limits-tables.test.ts test/outside/built-in-services.test.ts test/outside/operations.test.ts
`);
