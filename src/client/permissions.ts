const rw = ["Read", "Write"] as const;
const r = ["Read"] as const;

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

type OfResource<Prefix extends string, Actions extends readonly string[]> = {
  readonly [Action in Actions[number]]: `${Prefix}:${Lowercase<Action>}`;
} & { readonly All: `${Prefix}:*` };

type OfService<Name extends string, Resources> = {
  readonly [Key in keyof Resources & string]: Resources[Key] extends readonly string[]
    ? OfResource<`${Name}:${NameOf<Key>}`, Resources[Key]>
    : never;
} & { readonly All: `${Name}:*:*` };

type PermissionTree = {
  readonly [Key in keyof Services & string]: OfService<NameOf<Key>, Services[Key]>;
} & { readonly Admin: "*:*:*" };

function treeOf(prefix: string, parts: object): object {
  const isAction = Array.isArray(parts);
  const names: string[] = isAction ? parts : Object.keys(parts);
  const branches = names.map((key) => {
    const name = `${prefix}${key === "PullRequests" ? "pull_requests" : key.toLowerCase()}`;
    return [key, isAction ? name : treeOf(`${name}:`, parts[key as keyof typeof parts])];
  });
  const all = prefix && { All: `${prefix}*${isAction ? "" : ":*"}` };
  return { ...all, ...Object.fromEntries(branches) };
}

/**
 * The permissions of the services that every deployment knows, to be completed by the editor:
 * `Permissions.Zendesk.Tickets.Read` is `"zendesk:tickets:read"`, `Permissions.HubSpot.All` is `"hubspot:*:*"`,
 * `Permissions.Admin` is `"*:*:*"`: everything, AgentAuth's own administration included.
 */
export const Permissions = { Admin: "*:*:*", ...treeOf("", SERVICES) } as PermissionTree;

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
 * Any text that could be a permission: those of the built-in services exactly, and those of services that the operator
 * declares by their form: `service:resource:action`, `service:resource:*`, `service:*:*`.
 */
export type Permission = KnownPermission | `${Letter}${string}:${Letter}${string}:${string}` | `${Letter}${string}:*:*`;

/** The services that every deployment knows; the operator may declare others. */
export type Service = Exclude<KnownService, "*"> | (string & {});

/**
 * Whether a grant reaches a permission. The server alone decides for its gateway; this is for services that check a token
 * themselves.
 */
export function reaches(granted: readonly string[], permission: Permission): boolean {
  const [service, resource] = permission.split(":");
  const wide = new Set<string>(["*:*:*", `${service}:*:*`, `${service}:${resource}:*`, permission]);
  return granted.some((one) => wide.has(one));
}
