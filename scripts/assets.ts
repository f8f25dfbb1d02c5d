import { copyFileSync, cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { buildSync } from "esbuild";
import { ACTIONS } from "../src/outbox/record.ts";
import { ROOT } from "./local.ts";

/** The budget of the console's script, minified and gzipped, in bytes. */
const CONSOLE_BUDGET = 60 * 1024;
/** The browsers that the console is for: `light-dark()` of its styles is the newest that they have to know. */
const BROWSERS = ["chrome123", "firefox120", "safari17.5"];

/**
 * Gathers what is served as static assets: public/ as it stands, the console, and the viewer of the API reference from its package.
 * Runs before every `wrangler dev` and `wrangler deploy` (`[build]` in wrangler.toml).
 *
 * @param target the folder, which is made anew.
 */
export function gatherAssets(target: string): void {
  const viewer = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
  rmSync(target, { recursive: true, force: true });
  cpSync(join(ROOT, "public"), target, { recursive: true });
  mkdirSync(join(target, "docs"), { recursive: true });
  for (const file of ["swagger-ui.css", "swagger-ui-bundle.js"]) {
    copyFileSync(join(viewer, file), join(target, "docs", file));
  }
  buildConsole(join(target, "console"));
}

/** @throws if the script is over its budget. */
function buildConsole(target: string): void {
  const { outputFiles } = buildSync({
    absWorkingDir: ROOT,
    entryPoints: {
      console: "src/console/main.tsx",
      styles: "src/console/console.css",
      // For the pages in public/.
      passkey: "src/console/passkey.ts",
      "user-agent": "src/console/user-agent.ts",
    },
    outdir: target,
    bundle: true,
    minify: true,
    format: "esm",
    target: BROWSERS,
    jsx: "automatic",
    jsxImportSource: "preact",
    define: { AUDIT_ACTIONS: JSON.stringify(ACTIONS) },
    write: false,
    logLevel: "error",
  });
  for (const { path, contents } of outputFiles) {
    const size = gzipSync(contents, { level: 9 }).length;
    if (path.endsWith(".js") && size > CONSOLE_BUDGET) {
      throw new Error(`The console's script has ${size} bytes gzipped, and its budget is ${CONSOLE_BUDGET}.`);
    }
    writeFileSync(path, contents);
  }
}

if (import.meta.main ?? process.argv[1] === import.meta.filename) gatherAssets(join(ROOT, "dist/public"));
