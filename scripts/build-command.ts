import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { ROOT } from "./local.ts";

/** Builds the command `agentauth` as one file that imports nothing but Node: so it starts fast. */
export async function buildCommand(outfile: string): Promise<void> {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
  await build({
    entryPoints: [join(ROOT, "src/cli/main.ts")],
    outfile,
    bundle: true,
    platform: "node",
    target: "node20.3",
    format: "esm",
    banner: { js: "#!/usr/bin/env node" },
    define: { VERSION: JSON.stringify(version) },
    logLevel: "error",
  });
  chmodSync(outfile, 0o755);
}
