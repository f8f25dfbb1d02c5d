import { copyFileSync, cpSync, mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { ROOT } from "./local.ts";

/**
 * Gathers what is served as static assets: public/ as it stands, and the viewer of the API reference from its package.
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
}

if (import.meta.main ?? process.argv[1] === import.meta.filename) gatherAssets(join(ROOT, "dist/public"));
