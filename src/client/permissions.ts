import type { Services } from "./services.ts";

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

type BuiltIn = typeof SERVICES;

/** The name of a resource on the wire: `PullRequests` is `pull_requests`. */
type SnakeCase<Key extends string, Before extends string = ""> = Key extends `${infer First}${infer Rest}`
  ? First extends Lowercase<First>
    ? `${First}${SnakeCase<Rest, "_">}`
    : `${Before}${Lowercase<First>}${SnakeCase<Rest, "_">}`
  : "";

type ResourceTree<Prefix extends string, Actions> = {
  readonly [Action in keyof Actions & string]: `${Prefix}:${Lowercase<Action>}`;
} & { readonly All: `${Prefix}:*` };

type ServiceTree<Name extends string, Resources> = {
  readonly [Key in keyof Resources & string]: ResourceTree<`${Name}:${SnakeCase<Key>}`, Resources[Key]>;
} & { readonly All: `${Name}:*:*` };

type PermissionTree = {
  readonly [Key in keyof BuiltIn & string]: ServiceTree<Lowercase<Key>, BuiltIn[Key]>;
} & { readonly Admin: "*:*:*" };

/** The name of a resource or an action on the wire: `PullRequests` is `pull_requests`. */
const snakeCase = (key: string): string => key.replace(/\B[A-Z]/g, "_$&").toLowerCase();

const treeOf = (name: string, parts: object | 0, all: string): object | string =>
  parts
    ? { All: name + all, ...mapValues(parts, (key, part) => treeOf(`${name}:${snakeCase(key)}`, part, ":*")) }
    : name;

const mapValues = (parts: object, make: (key: string, part: object) => unknown): object =>
  Object.fromEntries(Object.entries(parts).map(([key, part]) => [key, make(key, part as object)]));

/**
 * The permissions of the built-in services as constants, for editors to complete: `Permissions.Zendesk.Tickets.Read` is
 * `"zendesk:tickets:read"`, `Permissions.HubSpot.All` is `"hubspot:*:*"`. `Permissions.Admin` is `"*:*:*"`: everything,
 * and AgentAuth's own administration.
 */
export const Permissions = {
  Admin: "*:*:*",
  ...mapValues(SERVICES, (key, part) => treeOf(key.toLowerCase(), part, ":*:*")),
} as PermissionTree;

type Leaves<Tree> = Tree extends string ? Tree : { [Key in keyof Tree]: Leaves<Tree[Key]> }[keyof Tree];

/** A permission of a built-in service, or `*:*:*`. */
export type KnownPermission = Leaves<PermissionTree>;

/** What the presets of the built-in services add, if the operator has turned them on. Each action is granted by name. */
interface PresetResources {
  zendesk: { uploads: "write"; ticket_fields: "read" };
  slack: { reactions: "read" | "write"; users: "read"; auth: "read" };
  hubspot: { properties: "read"; pipelines: "read"; owners: "read"; notes: "read" | "write" };
  github: {
    pull_requests: "write";
    statuses: "read" | "write";
    checks: "read" | "write";
    workflow_runs: "read" | "write";
  };
  salesforce: { contacts: "read" | "write"; opportunities: "read" | "write" };
  stripe: { subscriptions: "read"; refunds: "read" | "write"; products: "read"; balance: "read" };
}

/** A permission that a preset of a built-in service adds: `github:pull_requests:write`. The server refuses it while the preset is off. */
export type PresetPermission = {
  [Service in keyof PresetResources]: {
    [
      Resource in keyof PresetResources[Service] & string
    ]: `${Service}:${Resource}:${PresetResources[Service][Resource] & string}`;
  }[keyof PresetResources[Service] & string];
}[keyof PresetResources];

type DeclaredPermission = {
  [Service in keyof Services & string]:
    | `${Service}:*:*`
    | {
        [
          Resource in keyof Services[Service] & string
        ]: `${Service}:${Resource}:${(Services[Service][Resource] & string) | "*"}`;
      }[keyof Services[Service] & string];
}[keyof Services & string];

/**
 * A permission: `service:resource:action`, `service:resource:*`, `service:*:*` or `*:*:*`, of a built-in service, its presets
 * included, or of one that is declared in `Services`. Editors complete it, and a misspelt one is a type error.
 *
 * If the compiler refuses a permission of a service, or of a resource of a built-in service, that your operator has added, declare it:
 *
 * ```ts
 * declare module "agentauth" {
 *   interface Services {
 *     orders: { orders: "read" | "write" };
 *   }
 * }
 * ```
 *
 * Use a type assertion for a text that is known only at run time: `text as Permission`. The server checks every permission.
 */
export type Permission = KnownPermission | PresetPermission | DeclaredPermission;

type BuiltInService = KnownPermission extends infer One
  ? One extends `${infer Name}:${string}`
    ? Name
    : never
  : never;

/** The name of a service: a built-in one, a declared one, or any other that an operator has added. */
export type Service = Exclude<BuiltInService, "*"> | (keyof Services & string) | (string & {});

const leavesOf = (tree: object): unknown[] =>
  Object.values(tree).flatMap((part) => (typeof part === "string" ? part : leavesOf(part as object)));

/**
 * Whether a list of granted permissions grants one, as the gateway decides it. For services that check tokens themselves.
 *
 * For a built-in service, `service:resource:*` grants the actions that the catalogue lists for the resource. For an
 * operator's own service it grants every action of the resource, because only the server knows that service's catalogue.
 *
 * @example isGranted(agent.permissions, "zendesk:tickets:read")
 */
export function isGranted(granted: readonly string[], permission: Permission): boolean {
  const [service, resource] = permission.split(":");
  const known = leavesOf(Permissions);
  const isListed = known.includes(permission) || !known.includes(`${service}:*:*`);
  const granting = new Set<string>(["*:*:*", `${service}:*:*`, permission]);
  if (isListed) granting.add(`${service}:${resource}:*`);
  return granted.some((one) => granting.has(one));
}
