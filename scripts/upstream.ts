import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { NAME_PATTERN } from "../src/permissions/grammar.ts";
import { BUILT_IN_SERVICES } from "../src/policy/services.ts";
import { importOpenApi, resourceName, type ImportedUpstream } from "./import-openapi.ts";
import { fail, ROOT } from "./local.ts";

/** Writes upstreams/NAME.toml from an API's own description. Read the file before you deploy it: it grants what the description lists. */
const USAGE = `npm run upstream -- import FILE [--tag TAG]… [--name NAME] [--base-url URL] [--force]

  FILE            an OpenAPI 3 description in JSON or YAML, in one file
  --tag TAG       import only operations with this tag
  --name NAME     the upstream's name in URLs and permissions; the description's title by default
  --base-url URL  where the API is, if the description does not say it
  --force         overwrite the file`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    tag: { type: "string", multiple: true, default: [] },
    name: { type: "string" },
    "base-url": { type: "string" },
    force: { type: "boolean", default: false },
    // For tests.
    folder: { type: "string", default: join(ROOT, "upstreams") },
  },
});
const [command, source] = positionals;
if (command !== "import" || source === undefined || positionals.length > 2) fail(USAGE);

const imported = await read(source);
const name = values.name ?? resourceName(imported.title);
if (name === undefined || !NAME_PATTERN.test(name))
  fail("The description has no title that could be a name: give --name.");
if (BUILT_IN_SERVICES.some((service) => service.name === name)) {
  fail(`${name} is a built-in service: give another --name, or write the rules that you add to it by hand.`);
}
const baseUrl = values["base-url"] ?? imported.baseUrl;
if (baseUrl === undefined) fail("The description does not say where the API is: give --base-url.");
if (imported.rules.length === 0)
  fail(values.tag.length > 0 ? "No operation has this tag." : "There are no operations.");
const file = join(values.folder, `${name}.toml`);
if (existsSync(file) && !values.force) fail(`${relative(ROOT, file)} is there already: give --force to overwrite it.`);

mkdirSync(values.folder, { recursive: true });
writeFileSync(file, toToml(imported, baseUrl));
const resources = Object.keys(imported.resources).length;
console.log(`${relative(ROOT, file)}: ${imported.covered.length} operations, ${resources} resources.`);
for (const { operation, reason } of imported.left) console.log(`  left out: ${operation}: ${reason}`);

async function read(path: string): Promise<ImportedUpstream> {
  try {
    const text = readFileSync(path, "utf8");
    return importOpenApi(/^\s*\{/.test(text) ? JSON.parse(text) : await parseYaml(text), values.tag);
  } catch (error) {
    return fail(`${path}: ${(error as Error).message}`);
  }
}

/** The parser is part of a large library, which is loaded only if it is needed. */
async function parseYaml(text: string): Promise<unknown> {
  const library = await import("@redocly/openapi-core");
  return library.parseYaml(text);
}

/** JSON's texts and lists are TOML's. */
function toToml({ title, credential, resources, rules, operations, left }: ImportedUpstream, url: string): string {
  const pairs = Object.entries(credential).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  return [
    `# From the OpenAPI description ${JSON.stringify(title)}. Operations that are not listed are uncovered.`,
    ...left.map(
      ({ operation, reason }) =>
        `# Left out: ${JSON.stringify(operation).slice(1, -1)}: ${JSON.stringify(reason).slice(1, -1)}`,
    ),
    `base_url = ${JSON.stringify(url)}`,
    `credential = { ${pairs.join(", ")} }`,
    "rules = [",
    ...rules.map((rule) => `  ${JSON.stringify(rule)},`),
    "]",
    "",
    "[resources]",
    ...Object.entries(resources).map(([resource, actions]) => `${resource} = ${JSON.stringify(actions)}`),
    "",
    // For the tools of the MCP server: see docs/mcp.md.
    ...Object.entries(operations).map(([operation, described]) => {
      const keys = Object.entries(described).map(([key, value]) => `${key} = ${tomlOf(value)}\n`);
      return `[operations.${JSON.stringify(operation)}]\n${keys.join("")}`;
    }),
  ].join("\n");
}

/** A JSON value in TOML, on one line. TOML has no null, which no description needs. */
function tomlOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(tomlOf).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const pairs = Object.entries(value).map(([key, one]) => `${JSON.stringify(key)} = ${tomlOf(one)}`);
  return pairs.length > 0 ? `{ ${pairs.join(", ")} }` : "{}";
}
