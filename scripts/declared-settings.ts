import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "smol-toml";
import { readDevVars, ROOT } from "./local.ts";

/** Returns the settings of local development: the `[vars]` of wrangler.toml, and over them those of `.dev.vars`. */
export function declaredSettings(): Record<string, unknown> {
  const { vars } = parse(readFileSync(join(ROOT, "wrangler.toml"), "utf8")) as { vars?: Record<string, unknown> };
  return { ...vars, ...readDevVars() };
}
