import { actionsOf, BUILT_IN_CATALOGUE } from "../src/permissions/catalogue.ts";
import type { Operation } from "./operations.ts";

/** What the catalogue calls the vendors' groups, independent of the gateway's tables. */
const RESOURCES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
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

export const isRead = ({ classification }: Operation): boolean =>
  classification.split("+").every((permission) => permission.endsWith(":read"));

/** Whether the vendor's own grouping says that an operation is on a resource of the catalogue, with an action that it grants. */
export function belongs(service: string, { method, path, group }: Operation): boolean {
  const reads = method === "GET" || method === "HEAD" || /\/(?:search|batch\/read)$/.test(path);
  return group.split("+").every((one) => {
    const resource = RESOURCES[service]?.[one.split("/")[0] ?? ""] ?? "";
    return actionsOf(BUILT_IN_CATALOGUE, service, resource).includes(reads ? "read" : "write");
  });
}
