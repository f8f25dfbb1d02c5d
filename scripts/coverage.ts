import { coverageTable, differing } from "./vendor-groups.ts";

/** Prints the table of what the gateway covers, from vendor/operations; with `--list` every operation in its last two columns. */
console.log(coverageTable());
if (process.argv.includes("--list")) {
  for (const { service, method, path, group, classification } of differing()) {
    console.log(service, method, path, group, classification);
  }
}
