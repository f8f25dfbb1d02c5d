const r = { Read: 0 } as const;
const rw = { ...r, Write: 0 } as const;

const SERVICES = {
  Zendesk: { Tickets: rw, Users: rw },
  Slack: { Messages: rw, Channels: rw },
  HubSpot: { Contacts: rw, Deals: rw, Companies: r },
  GitHub: { Repos: rw, Issues: rw, PullRequests: r },
  Salesforce: { Accounts: rw, Leads: rw },
  Stripe: { Payments: r, Customers: r, Invoices: r },
} as const;

type Services = typeof SERVICES;
type NameOf<Key extends string> = Key extends "PullRequests" ? "pull_requests" : Lowercase<Key>;

type OfResource<Prefix extends string, Actions> = {
  readonly [Action in keyof Actions & string]: `${Prefix}:${Lowercase<Action>}`;
} & { readonly All: `${Prefix}:*` };

type OfService<Name extends string, Resources> = {
  readonly [Key in keyof Resources & string]: OfResource<`${Name}:${NameOf<Key>}`, Resources[Key]>;
} & { readonly All: `${Name}:*:*` };

type PermissionTree = {
  readonly [Key in keyof Services & string]: OfService<NameOf<Key>, Services[Key]>;
} & { readonly Admin: "*:*:*" };

const nameOf = (key: string): string => key.replace("lR", "l_R").toLowerCase();

const treeOf = (name: string, parts: object | 0, all: string): object | string =>
  parts ? { All: name + all, ...mapped(parts, (key, part) => treeOf(`${name}:${nameOf(key)}`, part, ":*")) } : name;

const mapped = (parts: object, make: (key: string, part: object) => unknown): object =>
  Object.fromEntries(Object.entries(parts).map(([key, part]) => [key, make(key, part as object)]));

/**
 * The permissions of the services that every deployment knows, to be completed by the editor:
 * `Permissions.Zendesk.Tickets.Read` is `"zendesk:tickets:read"`, `Permissions.HubSpot.All` is `"hubspot:*:*"`,
 * `Permissions.Admin` is `"*:*:*"`: everything, AgentAuth's own administration included.
 */
export const Permissions = {
  Admin: "*:*:*",
  ...mapped(SERVICES, (key, part) => treeOf(nameOf(key), part, ":*:*")),
} as PermissionTree;

type Leaves<Tree> = Tree extends string ? Tree : { [Key in keyof Tree]: Leaves<Tree[Key]> }[keyof Tree];

/** A permission that every deployment knows. */
export type KnownPermission = Leaves<PermissionTree>;

type KnownService = KnownPermission extends infer One
  ? One extends `${infer Service}:${string}`
    ? Service
    : never
  : never;

// prettier-ignore
type Letter = "a" | "b" | "c" | "d" | "e" | "f" | "g" | "h" | "i" | "j" | "k" | "l" | "m" | "n" | "o" | "p" | "q" | "r" | "s" | "t" | "u" | "v" | "w" | "x" | "y" | "z";

/**
 * Any text that could be a permission, completed to the known ones: `service:resource:action`, `service:resource:*`,
 * `service:*:*`, `*:*:*`. Operators declare services of their own, so whether a service has a resource the server says.
 */
export type Permission = KnownPermission | `${Letter}${string}:${Letter}${string}:${string}` | `${Letter}${string}:*:*`;

/** The services that every deployment knows; the operator may declare others. */
export type Service = Exclude<KnownService, "*"> | (string & {});

const leavesOf = (tree: object): unknown[] =>
  Object.values(tree).flatMap((one) => (typeof one === "string" ? one : leavesOf(one as object)));

/**
 * Whether a grant reaches a permission, for services that check a token themselves. `service:resource:*` reaches of a built-in
 * service the actions that the catalogue lists, as at the gateway, and of the operator's own every action: what those have,
 * only the server knows.
 */
export function reaches(granted: readonly string[], permission: Permission): boolean {
  const [service, resource] = permission.split(":");
  const known = leavesOf(Permissions);
  const isListed = known.includes(permission) || !known.includes(`${service}:*:*`);
  const wide = new Set<string>(["*:*:*", `${service}:*:*`, permission]);
  if (isListed) wide.add(`${service}:${resource}:*`);
  return granted.some((one) => wide.has(one));
}
