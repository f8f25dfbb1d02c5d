import { SERVICES } from "./operations.ts";
import { coverageTable, differing } from "./vendor-groups.ts";

/** Prints the table of what the gateway covers, from vendor/operations; with `--list` every operation in its last two columns. */
console.log(coverageTable());
for (const service of process.argv.includes("--list") ? SERVICES : []) {
  for (const { method, path, group, classification } of differing(service)) {
    console.log(service, method, path, group, classification);
  }
}
