import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build, transformSync } from "esbuild";
import { buildCommand } from "./build-command.ts";
import { fail, ROOT, TSC } from "./local.ts";

/** The budget of the client's main entry, minified with all that it imports and gzipped, in bytes. */
const BUDGET = 10_000;
const SOURCE = join(ROOT, "src/client");
const OUT = join(ROOT, "dist/npm");
const FILES = join(OUT, "client");

/**
 * Builds the SDK as a package of its own in dist/npm: file by file, so that an error class is the same in every entry, as ES
 * modules (.js, .d.ts) and as CommonJS (.cjs, .d.cts). It is published from there (`npm publish ./dist/npm`); the root package
 * has the same entries, and the Worker's dependencies. The command stands beside it, in cli/.
 */
rmSync(OUT, { recursive: true, force: true });
mkdirSync(FILES, { recursive: true });

const tsc = spawnSync(process.execPath, [TSC, "-p", "tsconfig.client.json"], { cwd: ROOT, encoding: "utf8" });
if (tsc.status !== 0) fail(`tsc failed:\n${tsc.stdout}${tsc.stderr}`);

/** Imports of sources as imports of what is made of them. */
const renamed = (text: string, extension: string): string =>
  text.replace(/((?:from|import|require)\s*\(?\s*)"(\.\/[\w-]+)\.ts"/g, `$1"$2${extension}"`);

for (const file of readdirSync(SOURCE)) {
  const name = file.replace(/\.ts$/, "");
  const source = readFileSync(join(SOURCE, file), "utf8");
  for (const [format, extension] of [
    ["esm", ".js"],
    ["cjs", ".cjs"],
  ] as const) {
    const { code } = transformSync(source, { loader: "ts", format, target: "es2022", sourcefile: file });
    writeFileSync(join(FILES, name + extension), renamed(code, extension));
  }
  const types = readFileSync(join(FILES, `${name}.d.ts`), "utf8");
  writeFileSync(join(FILES, `${name}.d.ts`), renamed(types, ".js"));
  writeFileSync(join(FILES, `${name}.d.cts`), renamed(types, ".cjs"));
}

const root = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
const { main, types, typesVersions, exports } = root;
const manifest = {
  name: root.name,
  version: root.version,
  description:
    "The TypeScript SDK of AgentAuth: identity for AI agents, and a gateway that checks every request of theirs.",
  license: root.license,
  type: "module",
  sideEffects: false,
  files: ["client", "cli"],
  ...JSON.parse(JSON.stringify({ main, types, typesVersions, exports }).replaceAll("dist/npm/", "")),
  bin: { agentauth: "cli/agentauth.js" },
  engines: { node: ">=20.3" },
  // The verifier and the middleware over it need it; ./client imports nothing.
  dependencies: { jose: root.dependencies.jose },
  peerDependencies: { hono: ">=4" },
  peerDependenciesMeta: { hono: { optional: true } },
};
await buildCommand(join(OUT, "cli/agentauth.js"));
writeFileSync(join(OUT, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
copyFileSync(join(ROOT, "docs/sdk.md"), join(OUT, "README.md"));
copyFileSync(join(ROOT, "LICENSE"), join(OUT, "LICENSE"));

const { outputFiles } = await build({
  entryPoints: [join(FILES, "index.js")],
  bundle: true,
  minify: true,
  format: "esm",
  write: false,
  logLevel: "error",
});
const bundle = outputFiles[0]!.contents;
const kb = (bytes: number): string => (bytes / 1000).toFixed(2);
const gzipped = gzipSync(bundle, { level: 9 }).length;
console.log(`SDK ./client: ${kb(bundle.length)} KB minified, ${kb(gzipped)} KB gzipped (budget ${kb(BUDGET)} KB)`);
if (gzipped > BUDGET) fail("The SDK's main entry is over its size budget.");
