import { BUILT_IN_CATALOGUE } from "../src/permissions/catalogue.ts";
import type { Operation } from "./operations.ts";

/** The vendor's groups that are what the catalogue calls a resource, independent of the gateway's tables. */
const GROUPS: Readonly<Record<string, RegExp>> = {
  zendesk: /^(tickets|users)$/,
  slack: /^(chat|conversations)$/,
  hubspot: /^(contacts|companies|deals)$/,
  github: /^(repos|issues|pulls|git|commits|branches|releases|contents)(\/|$)/,
  salesforce: /^(Account|Lead)$/,
  stripe: /^(charges|payment_intents|customers|invoices)$/,
};

export const isRead = ({ classification }: Operation): boolean =>
  classification.split("+").every((permission) => permission.endsWith(":read"));

/** Whether the vendor's own grouping says that an operation is on a resource of the catalogue, with an action that it grants. */
export function belongs(service: string, { method, group }: Operation): boolean {
  const resources: Readonly<Record<string, readonly string[]>> =
    BUILT_IN_CATALOGUE[service as keyof typeof BUILT_IN_CATALOGUE];
  const writable = Object.values(resources).some((actions) => actions.includes("write"));
  return (GROUPS[service]?.test(group) ?? false) && (writable || method === "GET" || method === "HEAD");
}
