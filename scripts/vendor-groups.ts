import { actionsOf, BUILT_IN_CATALOGUE } from "../src/permissions/catalogue.ts";
import { BUILT_IN_SERVICES } from "../src/policy/services.ts";
import { classifyWithPreset, readOperations, SERVICES, type Operation } from "./operations.ts";

/** The resource of the catalogue that a group of the vendor is. Independent of the rules, which it is compared with. */
export const RESOURCES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  zendesk: { tickets: "tickets", users: "users" },
  slack: { chat: "messages", conversations: "channels" },
  hubspot: { contacts: "contacts", companies: "companies", deals: "deals" },
  github: {
    repos: "repos",
    git: "repos",
    commits: "repos",
    branches: "repos",
    releases: "repos",
    issues: "issues",
    pulls: "pull_requests",
  },
  salesforce: { Account: "accounts", Lead: "leads" },
  stripe: { charges: "payments", payment_intents: "payments", customers: "customers", invoices: "invoices" },
};

const isRead = ({ classification }: Operation): boolean =>
  classification.split("+").every((permission) => permission.endsWith(":read"));

/** Whether the vendor's own grouping says that an operation is on a resource of the catalogue, with an action that it grants. */
function belongs(service: string, { method, path, group }: Operation): boolean {
  const reads = method === "GET" || method === "HEAD" || /\/(?:search|batch\/read)$/.test(path);
  return group.split("+").every((one) => {
    const resource = RESOURCES[service]?.[one.split("/")[0] ?? ""] ?? "";
    return actionsOf(BUILT_IN_CATALOGUE, service, resource).includes(reads ? "read" : "write");
  });
}

const isCovered = ({ classification }: Operation): boolean => classification.includes(":");

/** The operations of a service that the gateway and the vendor's grouping disagree about. */
export const differing = (service: string): Operation[] =>
  readOperations(service).filter((one) => isCovered(one) !== belongs(service, one));

/** A row for each service, in Markdown. */
export function coverageTable(): string {
  const rows = SERVICES.map((service) => {
    const operations = readOperations(service);
    const covered = operations.filter(isCovered);
    const reads = covered.filter(isRead);
    const disagreed = differing(service);
    const beyond = disagreed.filter(isCovered);
    const counts = [
      operations.length,
      reads.length,
      covered.length - reads.length,
      operations.length - covered.length,
      beyond.length,
      disagreed.length - beyond.length,
    ];
    return `| ${service} | ${counts.join(" | ")} |`;
  });
  return [
    "| service | operations | read | write | uncovered | beyond its group | in its group, uncovered |",
    "|---|---:|---:|---:|---:|---:|---:|",
    ...rows,
  ].join("\n");
}

/** An item for each preset, in Markdown: what it adds, and how many of the vendor's operations become covered. */
export function presetList(): string {
  const rows = BUILT_IN_SERVICES.flatMap(({ name, presets = {} }) =>
    Object.entries(presets).map(([preset, { title, resources }]) => {
      const classify = classifyWithPreset(name, preset);
      const covered = readOperations(name)
        .map((one) => Object.assign({}, one, { classification: classify(one), before: one.classification }))
        .filter((one) => isCovered(one) && one.classification !== one.before);
      const reads = covered.filter(isRead).length;
      const permissions = Object.entries(resources).map(
        ([resource, actions]) => `\`${resource}: ${actions.join(", ")}\``,
      );
      const counts = `${reads} that read and ${covered.length - reads} that write`;
      return `- **${name} \`${preset}\`**: ${title}. It adds ${permissions.join(" and ")}. Operations: ${counts}.`;
    }),
  );
  return rows.join("\n");
}
