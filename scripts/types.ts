import { spawnSync } from "node:child_process";
import { ROOT, TSC } from "./local.ts";

/**
 * Checks the types of the Worker, of its tests, of everything that runs in Node, and of the console, which runs in a browser. What has not changed since the last time is not
 * checked again: the compiler keeps what it knows beside the packages.
 */
let failed = false;
for (const project of ["tsconfig.json", "tsconfig.test.json", "tsconfig.node.json", "tsconfig.console.json"]) {
  const known = `node_modules/.cache/types/${project}.tsbuildinfo`;
  const args = [TSC, "-p", project, "--incremental", "--tsBuildInfoFile", known];
  const { status } = spawnSync(process.execPath, args, { cwd: ROOT, stdio: "inherit" });
  failed ||= status !== 0;
}
process.exit(failed ? 1 : 0);
