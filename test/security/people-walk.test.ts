import { beforeAll, describe, expect, it } from "vitest";
import { ROUTES } from "../../src/app.ts";
import type { Auth, Route } from "../../src/access/route.ts";
import { SLOW } from "../support/extents.ts";
import { OWN_PAGE, firstAdministrator, invite, letIn, openLink, type SignedInPerson } from "../support/people.ts";
import { world, type Registered } from "../support/world.ts";

/** Who calls. An agent and a person of every kind; the owner owns the agent that `{id}` names, or is the person that it names. */
const COLUMNS = [
  "administrator agent",
  "agent",
  "owner",
  "other owner",
  "auditor",
  "administrator",
  "device-grant token",
  "link",
] as const;
type Column = (typeof COLUMNS)[number];
/** The one that `npm test` walks with: its rights end at its own agents, and it is refused the most. */
const QUICK: ReadonlySet<Column> = new Set(["owner"]);

/** Reviewed: who gets past the door of a route, by its `auth`, if it only reads and if it changes something. */
const REVIEWED: Readonly<Record<Auth, { reads: readonly Column[]; changes: readonly Column[] }>> = {
  none: { reads: COLUMNS, changes: COLUMNS },
  // It has a face of its own, which looks at no session.
  client: { reads: [], changes: [] },
  registration: { reads: [], changes: ["administrator agent", "agent", "administrator", "device-grant token"] },
  bootstrap: { reads: [], changes: [] },
  bearer: { reads: ["administrator agent", "agent"], changes: ["administrator agent", "agent"] },
  member: {
    reads: ["administrator agent", "agent", "owner", "other owner", "auditor", "administrator", "device-grant token"],
    changes: ["administrator agent", "agent", "owner", "other owner", "administrator", "device-grant token"],
  },
  self: {
    reads: ["administrator agent", "owner", "auditor", "administrator", "device-grant token"],
    changes: ["administrator agent", "owner", "administrator", "device-grant token"],
  },
  admin: {
    reads: ["administrator agent", "auditor", "administrator", "device-grant token"],
    changes: ["administrator agent", "administrator", "device-grant token"],
  },
  own: {
    reads: ["administrator agent", "agent", "auditor", "administrator", "device-grant token"],
    changes: ["administrator agent", "agent", "administrator", "device-grant token"],
  },
  person: {
    reads: ["owner", "other owner", "auditor", "administrator"],
    changes: ["owner", "other owner", "auditor", "administrator"],
  },
  oneself: { reads: ["owner", "auditor", "administrator"], changes: ["owner", "administrator"] },
  enrolling: { reads: [], changes: ["owner", "link"] },
  administrator: { reads: ["auditor", "administrator"], changes: ["administrator"] },
};

/** Reviewed: the routes that take other people than their `auth` says. */
const EXCEPTIONS: Readonly<Record<string, readonly Column[]>> = {
  // Owners are shown what is theirs: test/agents/owned-list.test.ts, test/agents/ending-keys.test.ts.
  "GET /agents": ["administrator agent", "owner", "other owner", "auditor", "administrator", "device-grant token"],
  "GET /keys": ["administrator agent", "owner", "other owner", "auditor", "administrator", "device-grant token"],
  "PUT /agents/{id}/status": ["administrator agent", "owner", "administrator", "device-grant token"],
  "GET /audit/{id}": [
    "administrator agent",
    "agent",
    "owner",
    "other owner",
    "auditor",
    "administrator",
    "device-grant token",
  ],
  // A command that an administrator has let in says who that is, and exports nothing.
  "GET /people/me": ["owner", "other owner", "auditor", "administrator", "device-grant token"],
  "GET /audit/export": ["administrator agent", "auditor", "administrator"],
};

const REFUSALS: ReadonlySet<string> = new Set([
  "insufficient_permissions",
  "role_required",
  "person_required",
  "agent_required",
  "missing_token",
  "invalid_token",
  "sign_in_required",
  "browser_required",
]);

describe("every route", () => {
  const self = world({ BOOTSTRAP: "keep" });
  let agents: Record<"administrator agent" | "agent", Registered>;
  let people: Record<"owner" | "other owner" | "auditor" | "administrator", SignedInPerson>;
  let link: string;
  let command: string;
  let owned: Registered;

  beforeAll(async () => {
    const administrator = await firstAdministrator(self);
    people = {
      administrator,
      owner: await invite(self, administrator, "owner"),
      "other owner": await invite(self, administrator, "owner"),
      auditor: await invite(self, administrator, "auditor"),
    };
    agents = { "administrator agent": await self.admin(), agent: await self.agent() };
    owned = await self.agent();
    const json = { owner_person_id: people.owner.id };
    expect((await administrator.call(`/agents/${owned.id}`, { method: "PATCH", json })).status).toBe(200);
    const made = await administrator.confirmed(`/people/${people.owner.id}/sign-in-links`, { method: "POST" });
    command = await letIn(self, administrator);
    link = (await openLink(self, made.body.link.url)).cookie;
  });

  const TOO_LONG = "x".repeat(64 * 1024 + 1);

  /** Whether the caller gets past the door: then what stops it is its body, or that there is no such thing. */
  async function passes(route: Route, column: Column): Promise<boolean | string> {
    const ids = route.path.startsWith("/people/") ? people.owner.id : owned.id;
    const path = route.path
      .replace("{id}", route.path.startsWith("/webhooks/") ? "whk_0" : ids)
      .replace(/\{\w+\}/g, "x");
    const init = { method: route.method, ...(route.method !== "GET" && { body: TOO_LONG }) };
    const headers = { ...OWN_PAGE, ...(column === "link" && { cookie: `__Host-agentauth=${link}` }) };
    const response = await self.fetch(path, {
      ...init,
      ...(column in agents || column === "device-grant token"
        ? { token: column in agents ? agents[column as keyof typeof agents].token : command }
        : { headers: { cookie: `__Host-agentauth=${people[column as keyof typeof people]?.cookie}`, ...headers } }),
    });
    const { status } = response;
    const text = await response.text();
    // An export is not JSON.
    const body = (text.startsWith('{"error"') ? JSON.parse(text) : {}) as { code?: string };
    if (REFUSALS.has(body.code ?? "")) return false;
    // Who is asked to confirm the request with a passkey is past the door.
    return [200, 404, 413].includes(status) || body.code === "reauthentication_required"
      ? true
      : `${status} ${body.code}`;
  }

  const closed = ROUTES.filter(({ auth }) => auth !== "none" && auth !== "client");

  for (const column of COLUMNS) {
    it(
      `lets a caller of this kind in where it was reviewed, and nowhere else: ${column}`,
      QUICK.has(column) ? {} : SLOW,
      async () => {
        const found: string[] = [];
        for (const route of closed) {
          const name = `${route.method} ${route.path}`;
          const reviewed = EXCEPTIONS[name] ?? REVIEWED[route.auth][route.method === "GET" ? "reads" : "changes"];
          const outcome = await passes(route, column);
          if (outcome !== reviewed.includes(column)) found.push(`${name}: ${outcome}`);
        }
        expect(found).toEqual([]);
      },
    );
  }

  it("takes no roles but those of its auth, unless it was reviewed", () => {
    const others = ROUTES.filter((route) => route.roles !== undefined || route.fromCommand).map(
      ({ method, path }) => `${method} ${path}`,
    );
    expect([...others, "GET /audit/export"].sort()).toEqual(Object.keys(EXCEPTIONS).sort());
  });

  it("does not look at a person's session on the gateway", async () => {
    const { status, body } = await people.administrator.call("/proxy/lab/things/1");
    expect([status, body.code]).toEqual([401, "missing_token"]);
  });

  it("takes a session or a token, not both", async () => {
    const both = await people.administrator.call("/agents", { token: agents["administrator agent"].token });
    expect([both.status, both.body.code]).toEqual([400, "several_credentials"]);
  });
});
