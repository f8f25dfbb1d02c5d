/** What can be granted: service → resource → its actions. */
export type Catalogue = Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;

/** The services that the gateway knows without configuration. */
export const BUILT_IN_CATALOGUE = {
  zendesk: { tickets: ["read", "write"], users: ["read", "write"] },
  slack: { messages: ["read", "write"], channels: ["read", "write"] },
  hubspot: { contacts: ["read", "write"], deals: ["read", "write"], companies: ["read"] },
  github: { repos: ["read", "write"], issues: ["read", "write"], pull_requests: ["read"] },
  salesforce: { accounts: ["read", "write"], leads: ["read", "write"] },
  stripe: { payments: ["read"], customers: ["read"], invoices: ["read"] },
} as const satisfies Catalogue;

/** What can be granted of AgentAuth itself, beside its administration. No upstream may have its name. */
export const OWN_CATALOGUE = { agentauth: { tokens: ["introspect"] } } as const satisfies Catalogue;

/** The permission to ask whether tokens of other agents are valid. */
export const INTROSPECT = "agentauth:tokens:introspect";

/** Returns every permission of one service without wildcards, as full strings. */
export function listService(catalogue: Catalogue, service: string): string[] {
  return Object.entries(catalogue[service] ?? {}).flatMap(([resource, actions]) =>
    actions.map((action) => `${service}:${resource}:${action}`),
  );
}

/** Returns the actions that the catalogue lists for a resource; none for an unknown service or resource. */
export function actionsOf(catalogue: Catalogue, service: string, resource: string): readonly string[] {
  const resources = Object.hasOwn(catalogue, service) ? catalogue[service] : undefined;
  return (resources && Object.hasOwn(resources, resource) && resources[resource]) || [];
}

/**
 * Returns the actions that `service:resource:*` grants. Of a built-in service these are those of the built-in catalogue, whatever presets
 * and operators add, so that a permission that was granted before reaches nothing new.
 */
export const actionsOfWildcard = (catalogue: Catalogue, service: string, resource: string): readonly string[] =>
  actionsOf(Object.hasOwn(BUILT_IN_CATALOGUE, service) ? BUILT_IN_CATALOGUE : catalogue, service, resource);
