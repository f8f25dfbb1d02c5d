import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { parse, TomlError } from "smol-toml";
import { parseUpstream } from "../src/config/upstream-settings.ts";
import { BUILT_IN_CATALOGUE } from "../src/permissions/catalogue.ts";
import { loadServices, type UpstreamFault, type UpstreamSettings } from "../src/policy/services.ts";
import { fail, ROOT } from "./local.ts";

/**
 * Compiles the operator's upstreams, `upstreams/NAME.toml`, into the module that the Worker imports as `#upstreams`. Runs before
 * every `wrangler dev` and `wrangler deploy` (`[build]` in wrangler.toml): any fault ends both, in the files or in the upstreams of
 * wrangler.toml.
 *
 * `node scripts/upstreams.ts [FOLDER] [MODULE] [WRANGLER.TOML]`
 */
const FOLDER = join(ROOT, "upstreams");
const MODULE = join(ROOT, "dist/upstreams.js");
const CONFIG = join(ROOT, "wrangler.toml");

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

/** The longest variable that Cloudflare takes, in bytes (https://developers.cloudflare.com/workers/platform/limits/#environment-variables). */
const MAX_VARIABLE = 5 * 1024;

/**
 * Checks the upstreams that are declared as variables in a wrangler.toml, for each environment, together with those of the files.
 *
 * @param config the path of the wrangler.toml. One that cannot be parsed is left to wrangler.
 * @param files what the files declare, without faults.
 * @returns each fault as `wrangler.toml:LINE: KEY MESSAGE`.
 */
export function variableFaults(config: string, files: Readonly<Record<string, unknown>>): string[] {
  const text = existsSync(config) ? readFileSync(config, "utf8") : "";
  let document: Record<string, unknown>;
  try {
    document = parse(text);
  } catch {
    return [];
  }
  const environments = Object.keys(isTable(document.env) ? document.env : {});
  const scopes = [["vars"], ...environments.map((name) => ["env", name, "vars"])];
  const faults: string[] = [];
  for (const scope of scopes) {
    const vars = scope.reduce<unknown>((inner, part) => (isTable(inner) ? inner[part] : undefined), document);
    if (!isTable(vars)) continue;
    const report = (path: readonly PropertyKey[], message: string): void => {
      const whole = [...scope, ...path];
      faults.push(`${basename(config)}:${lineOf(text, document, whole)}: ${keyOf(whole)} ${message}`);
    };
    for (const [name, value] of Object.entries(vars)) {
      if (!/^UPSTREAMS(?:\.|$)/.test(name)) continue;
      const size = Buffer.byteLength(typeof value === "string" ? value : JSON.stringify(value));
      if (size <= MAX_VARIABLE) continue;
      report(
        [name],
        `has ${size} bytes, and a variable at most ${MAX_VARIABLE}: move an upstream to upstreams/NAME.toml.`,
      );
    }
    for (const { path, message } of tableFaults(vars.UPSTREAMS, files)) report(path, message);
  }
  return faults;
}

/** Returns the faults of a table of upstreams, each with its path below the variables. */
function tableFaults(
  table: unknown,
  files: Readonly<Record<string, unknown>>,
): { path: readonly PropertyKey[]; message: string }[] {
  if (!isTable(table)) return [];
  const checked = new Map<string, UpstreamSettings>();
  const faults: UpstreamFault[] = [];
  for (const [name, value] of Object.entries({ ...files, ...table })) {
    if (Object.hasOwn(table, name) && Object.hasOwn(files, name)) {
      faults.push({
        upstream: name,
        path: [],
        message: `is declared by upstreams/${name}.toml as well. Remove one of the two.`,
      });
    }
    const parsed = parseUpstream(name, value);
    if (Array.isArray(parsed)) faults.push(...(parsed as UpstreamFault[]));
    else checked.set(name, parsed as UpstreamSettings);
  }
  faults.push(...loadServices(checked, BUILT_IN_CATALOGUE).faults);
  return faults
    .filter(({ upstream }) => Object.hasOwn(table, upstream))
    .map(({ upstream, path, message }) => ({ path: ["UPSTREAMS", upstream, ...path], message }));
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** `["rules", 2]` as it is written in code: `rules[2]`. A key with other characters than a word's is quoted, as in TOML. */
const keyOf = (path: readonly PropertyKey[]): string =>
  path
    .map((part) => {
      if (typeof part === "number") return `[${part}]`;
      const key = String(part);
      return /^[\w-]+$/.test(key) || key.startsWith("UPSTREAMS.") ? `.${key}` : `.${JSON.stringify(key)}`;
    })
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

/**
 * Compiles the files of a folder into a module, if nothing is wrong with them or with the variables of `config`.
 *
 * @returns the faults; the module is written if there is none.
 */
export function writeUpstreams(folder: string, module: string, config: string): readonly string[] {
  const { files, faults } = compileUpstreams(folder);
  const all = faults.length > 0 ? faults : variableFaults(config, files);
  if (all.length > 0) return all;
  mkdirSync(dirname(module), { recursive: true });
  writeFileSync(module, `export default ${JSON.stringify(files)};\n`);
  return [];
}

if (import.meta.main ?? process.argv[1] === import.meta.filename) {
  const [folder = FOLDER, module = MODULE, config = CONFIG] = process.argv.slice(2);
  const faults = writeUpstreams(folder, module, config);
  if (faults.length > 0) fail(faults.join("\n"));
}
