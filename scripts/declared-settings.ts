import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "smol-toml";
import { readDevVars, ROOT } from "./local.ts";

/** Returns the settings of a deployment that stand in `[vars]` of wrangler.toml. */
export function deployedSettings(): Record<string, unknown> {
  const { vars } = parse(readFileSync(join(ROOT, "wrangler.toml"), "utf8")) as { vars?: Record<string, unknown> };
  return vars ?? {};
}

/** Returns the settings of local development: the `[vars]` of wrangler.toml, and over them those of `.dev.vars`. */
export const declaredSettings = (): Record<string, unknown> => ({ ...deployedSettings(), ...readDevVars() });
