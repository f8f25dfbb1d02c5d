import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parse, TomlError } from "smol-toml";
import { parseUpstream } from "../src/config/upstream-settings.ts";
import { BUILT_IN_CATALOGUE } from "../src/permissions/catalogue.ts";
import { loadServices, type UpstreamFault, type UpstreamSettings } from "../src/policy/services.ts";
import { fail, ROOT } from "./local.ts";

/**
 * Compiles the operator's upstreams, `upstreams/NAME.toml`, into the module that the Worker imports as `#upstreams`. Runs before
 * every `wrangler dev` and `wrangler deploy` (`[build]` in wrangler.toml): any fault ends both.
 *
 * `node scripts/upstreams.ts [FOLDER] [MODULE]`
 */
const FOLDER = join(ROOT, "upstreams");
const MODULE = join(ROOT, "dist/upstreams.js");

/** What the files declare. */
export interface CompiledUpstreams {
  /** The parsed files by the name of the upstream. */
  readonly files: Readonly<Record<string, unknown>>;
  /** Each as `upstreams/NAME.toml:LINE: KEY MESSAGE`. If there is any, the files must not be used. */
  readonly faults: readonly string[];
}

/** Reads and checks every file of a folder; a folder that does not exist declares nothing. */
export function compileUpstreams(folder: string = FOLDER): CompiledUpstreams {
  const faults: string[] = [];
  const files: Record<string, unknown> = {};
  const texts = new Map<string, string>();
  const checked = new Map<string, UpstreamSettings>();
  const report = (fault: UpstreamFault): void => {
    const line = lineOf(texts.get(fault.upstream) ?? "", files[fault.upstream], fault.path);
    const key = fault.path.length > 0 ? `${keyOf(fault.path)} ` : "";
    faults.push(`upstreams/${fault.upstream}.toml:${line}: ${key}${fault.message}`);
  };

  for (const file of existsSync(folder) ? readdirSync(folder).toSorted() : []) {
    if (file.startsWith(".") || file === "README.md") continue;
    const [, name] = /^(.+)\.toml$/.exec(file) ?? [];
    if (name === undefined) {
      faults.push(`upstreams/${file}: is not read. Call it NAME.toml, or move it out of this folder.`);
      continue;
    }
    const text = readFileSync(join(folder, file), "utf8");
    try {
      files[name] = parse(text);
    } catch (error) {
      if (!(error instanceof TomlError)) throw error;
      const [reason = ""] = error.message.replace(/^Invalid TOML document: /, "").split("\n");
      faults.push(`upstreams/${file}:${error.line}: is not valid TOML (column ${error.column}): ${reason}.`);
      continue;
    }
    texts.set(name, text);
    const parsed = parseUpstream(name, files[name]);
    if (Array.isArray(parsed)) parsed.forEach(report);
    else checked.set(name, parsed as UpstreamSettings);
  }
  loadServices(checked, BUILT_IN_CATALOGUE).faults.forEach(report);
  return { files, faults };
}

/** `["rules", 2]` as it is written in code: `rules[2]`. */
const keyOf = (path: readonly PropertyKey[]): string =>
  path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("")
    .slice(1);

/**
 * Returns the line, counted from 1, at which the value of a path stands: each key is looked for behind the one that it is below, and an
 * entry of an array by its own text. A key that is missing has the line of the key above it.
 */
function lineOf(text: string, value: unknown, path: readonly PropertyKey[]): number {
  const source = text.replace(/^\s*#.*/gm, (comment) => " ".repeat(comment.length));
  let at = 0;
  let inner = value;
  for (const part of path) {
    inner = typeof inner === "object" && inner !== null ? (inner as Record<PropertyKey, unknown>)[part] : undefined;
    const pattern =
      typeof part === "number" ? entryPattern(inner) : `(?<![\\w-])["']?${escape(String(part))}["']?\\s*[=.\\]]`;
    const found = pattern === undefined ? null : new RegExp(pattern, "g");
    if (!found) continue;
    found.lastIndex = at;
    at = found.exec(source)?.index ?? at;
  }
  return text.slice(0, at).split("\n").length;
}

// `RegExp.escape` is not in Node 22.
const escape = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");

/** Finds a text of an array, or undefined for what is none. */
const entryPattern = (value: unknown): string | undefined =>
  typeof value === "string" ? `["']${escape(value)}["']` : undefined;

if (import.meta.main ?? process.argv[1] === import.meta.filename) {
  const [folder = FOLDER, module = MODULE] = process.argv.slice(2);
  const { files, faults } = compileUpstreams(folder);
  if (faults.length > 0) fail(faults.join("\n"));
  mkdirSync(dirname(module), { recursive: true });
  writeFileSync(module, `export default ${JSON.stringify(files)};\n`);
}
