import { readOperations, SERVICES } from "./operations.ts";
import { belongs, isRead } from "./vendor-groups.ts";

/** Prints README's table of what the gateway covers, from vendor/operations. */
console.log(
  "| service | operations | read | write | uncovered | granted beyond the vendor's group | in the group, yet uncovered |",
);
console.log("|---|---:|---:|---:|---:|---:|---:|");
for (const service of SERVICES) {
  const operations = readOperations(service);
  const covered = operations.filter(({ classification }) => classification.includes(":"));
  const reads = covered.filter(isRead);
  const beyond = covered.filter((one) => !belongs(service, one));
  const short = operations.filter((one) => !covered.includes(one) && belongs(service, one));
  const counts = [
    operations,
    reads,
    covered.filter((one) => !isRead(one)),
    operations.filter((one) => !covered.includes(one)),
    beyond,
    short,
  ];
  console.log(`| ${service} | ${counts.map(({ length }) => length).join(" | ")} |`);
}
if (process.argv.includes("--list")) {
  for (const service of SERVICES) {
    for (const one of readOperations(service)) {
      const covered = one.classification.includes(":");
      if (covered !== belongs(service, one)) console.log(service, one.method, one.path, one.group, one.classification);
    }
  }
}
