import { spawnSync } from "node:child_process";
import { ROOT, TSC } from "./local.ts";

/** Checks the types of the Worker, of its tests, and of everything that runs in Node. */
let failed = false;
for (const project of ["tsconfig.json", "tsconfig.test.json", "tsconfig.node.json"]) {
  const { status } = spawnSync(process.execPath, [TSC, "-p", project], { cwd: ROOT, stdio: "inherit" });
  failed ||= status !== 0;
}
process.exit(failed ? 1 : 0);
