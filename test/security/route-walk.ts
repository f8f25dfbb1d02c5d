import { ENDPOINTS } from "../conformance/contract.ts";
import { testSecrets } from "../support/secrets.ts";
import type { Route } from "../../src/access/route.ts";
import type { Registered, World } from "../support/world.ts";
import { delegated } from "../oauth/exchange.ts";
import { forgedTokens, type Forgery } from "./forged-tokens.ts";

/** A route as a stranger finds it. The gateway is one for each way through it. */
export type Visited = Pick<Route, "method" | "path" | "auth">;

/** Reviewed: who may call each endpoint. What is not named here may not be open to strangers. */
const CONTRACT: Readonly<Record<string, Route["auth"]>> = {
  ...ENDPOINTS,
  "POST /agents/register": "registration",
  "GET /webhooks": "member",
  "GET /audit": "member",
};

/** For people and no agent, whatever it holds. */
export const OF_PEOPLE: ReadonlySet<Route["auth"]> = new Set(["person", "oneself", "enrolling", "administrator"]);

const GATEWAY: readonly Visited[] = [
  { method: "GET", path: "/proxy/lab/things/1", auth: "bearer" },
  { method: "PUT", path: "/proxy/lab/things/1", auth: "bearer" },
  { method: "GET", path: "/proxy/lab/uncovered", auth: "bearer" },
  { method: "GET", path: "/proxy/github/repos/o/r/issues", auth: "bearer" },
  { method: "GET", path: "/proxy/nobody/things", auth: "bearer" },
  { method: "POST", path: "/mcp", auth: "bearer" },
];

/** The world must not cache token statuses (`STANDING_TTL_SECONDS=0`). Another test covers how long it may. */
export interface Cast {
  readonly victim: Registered;
  readonly attacker: Registered;
  readonly admin: Registered;
  readonly tokens: readonly Forgery[];
  /** A token by which an administrator acts for another one. */
  readonly delegate: string;
}

async function send(self: World, method: string, path: string, token: string, json?: unknown): Promise<void> {
  const { status } = await self.call(path, { method, token, ...(json !== undefined && { json }) });
  if (status !== 200) throw new Error(`${method} ${path}: ${status}`);
}

/** Every way in which an agent's tokens are ended, by itself or by an administrator. */
export const ENDS: Readonly<Record<string, (self: World, one: Registered, admin: Registered) => Promise<void>>> = {
  revoked: (self, { id, token }) => send(self, "POST", `/agents/${id}/revoke`, token),
  suspended: (self, { id }, admin) => send(self, "PUT", `/agents/${id}/status`, admin.token, { status: "suspended" }),
  inactive: (self, { id }, admin) => send(self, "PUT", `/agents/${id}/status`, admin.token, { status: "inactive" }),
  "suspended and reinstated": async (self, { id }, admin) => {
    await send(self, "PUT", `/agents/${id}/status`, admin.token, { status: "suspended" });
    await send(self, "PUT", `/agents/${id}/status`, admin.token, { status: "active" });
  },
  deleted: (self, { id }, admin) => send(self, "DELETE", `/agents/${id}`, admin.token),
  "its tokens revoked": (self, { token }) => send(self, "POST", "/agents/revoke-tokens", token),
  "its key rotated without overlap": (self, { id, token }) =>
    send(self, "POST", `/agents/${id}/rotate-key`, token, { overlap_seconds: 0 }),
  "its session ended": async (self, { id }) => {
    await self.env.DB.prepare("UPDATE sessions SET ended_at = 1 WHERE agent_id = ?1").bind(id).run();
  },
};

/** Agents that can do nothing any more, a stranger among them, and every forged token. */
export async function cast(self: World): Promise<Cast> {
  const [admin, victim, attacker] = [await self.admin(), await self.agent(), await self.agent()];
  for (const { id } of [admin, victim, attacker])
    await send(self, "PUT", `/agents/${id}/tier`, admin.token, { tier: "enterprise" });

  const tokens = await forgedTokens(victim.token, self.env.SIGNING_KEYS, { ...victim, foreign: attacker.token });
  for (const [name, end] of Object.entries(ENDS)) {
    // As powerful as can be: what ends is not how much it may.
    const one = await self.admin();
    await end(self, one, admin);
    tokens.push({ name: `of one that was ended: ${name}`, token: one.token, code: "token_revoked" });
  }
  const delegate = await delegated(self, await self.admin(), admin.token);
  return { victim, attacker, admin, tokens, delegate };
}

/** Walks a route table as an attacker and reports everything that should not have happened. */
export async function walk(
  self: World,
  routes: readonly Visited[],
  { victim, attacker, admin, tokens, delegate }: Cast,
) {
  const faults: string[] = [];
  let calls = 0;
  const secrets = [...Object.values(testSecrets), victim.apiKey, victim.refreshToken, attacker.apiKey];

  async function send(route: Visited, id: string, token: string | undefined, body?: string) {
    calls++;
    const path = route.path
      .replace("{id}", id)
      .replace("{name}", "lab")
      .replace(/\{\w+\}/g, "dlv_0");
    const headers = { "content-type": "application/json" };
    const init = { method: route.method, headers, ...(token !== undefined && { token }) };
    const answer = await self.fetch(path, { ...init, ...(body !== undefined && { body }) });
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  }
  type Sent = Awaited<ReturnType<typeof send>>;

  /** Everything that a refusal must be. */
  function refused(
    what: string,
    { status, headers, text }: Sent,
    expected: { status: number; code: string; challenge?: string | null },
    token = "",
  ) {
    const body = parse(text);
    const keys = Object.keys(body).filter((key) => !["required", "granted"].includes(key));
    const checks: Record<string, unknown> = {
      status: [status, expected.status],
      code: [body.code, expected.code],
      "www-authenticate": [headers.get("www-authenticate"), expected.challenge ?? null],
      "cache-control": [headers.get("cache-control"), "no-store"],
      "content-type": [headers.get("content-type")?.split(";")[0], "application/json"],
      nosniff: [headers.get("x-content-type-options"), "nosniff"],
      keys: [keys.sort().join(), "code,error,message,request_id,status,title"],
      "status in the body": [body.status, expected.status],
      "upstream asked": [headers.get("x-agentauth-upstream"), null],
    };
    for (const [name, pair] of Object.entries(checks)) {
      const [found, wanted] = pair as [unknown, unknown];
      if (found !== wanted) faults.push(`${what}: ${name} is ${String(found)}, not ${String(wanted)}`);
    }
    const shown = text + JSON.stringify([...headers]);
    const told = [...secrets, ...(token.length > 20 ? [token] : [])];
    if (told.some((secret) => shown.includes(secret))) faults.push(`${what}: shows a secret`);
  }

  /** What an endpoint of OAuth's does with an access token that is none, and with no client at all. */
  async function walkForm(name: string, { path }: Visited) {
    const body = "grant_type=client_credentials&token=x";
    for (const { name: kind, token } of [{ name: "no client", token: undefined }, ...tokens]) {
      calls++;
      const headers = {
        "content-type": "application/x-www-form-urlencoded",
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      };
      const answer = await self.fetch(path, { method: "POST", headers, body });
      const text = await answer.text();
      const { error, ...rest } = parse(text);
      const isRefused =
        answer.status === 401 &&
        (error === "invalid_client" || error === "invalid_token") &&
        Object.keys(rest).join() === "error_description" &&
        answer.headers.has("www-authenticate") &&
        answer.headers.get("cache-control") === "no-store";
      if (!isRefused) faults.push(`${name} with ${kind}: ${answer.status} ${text.slice(0, 200)}`);
      const shown = text + JSON.stringify([...answer.headers]);
      if ([...secrets, ...(token && token.length > 20 ? [token] : [])].some((secret) => shown.includes(secret)))
        faults.push(`${name} with ${kind}: shows a secret`);
    }
  }

  for (const route of routes) {
    const name = `${route.method} ${route.path}`;
    const gateway = GATEWAY.includes(route);
    if (!gateway && route.auth !== (CONTRACT[name] ?? "bearer")) {
      const open = ["none", "client", "registration"].includes(route.auth);
      if (CONTRACT[name] || open)
        faults.push(`${name}: declared ${route.auth}, reviewed as ${CONTRACT[name] ?? "closed"}`);
    }
    const wanted = gateway ? route.auth : (CONTRACT[name] ?? route.auth);

    if (wanted === "none") {
      const bare = await send(route, victim.id, undefined);
      if (bare.status === 401) faults.push(`${name}: asks a stranger for a token`);
      for (const { name: kind, token } of tokens) {
        const sent = await send(route, victim.id, token);
        const same = sent.status === bare.status && parse(sent.text).code === parse(bare.text).code;
        if (!same) faults.push(`${name} with ${kind}: ${sent.status} where a stranger gets ${bare.status}`);
      }
      continue;
    }

    if (wanted === "client") {
      await walkForm(name, route);
      continue;
    }

    const realm = 'Bearer realm="agentauth"';
    const service = /^\/proxy\/(lab|github)\//.exec(route.path)?.[1];
    const resource = service ? `/proxy/${service}` : route.path === "/mcp" ? "/mcp" : "";
    const metadata = `resource_metadata="https://auth.example.com/.well-known/oauth-protected-resource${resource}"`;
    if (OF_PEOPLE.has(wanted)) {
      const signIn = { status: 401, code: "sign_in_required", challenge: `${realm}, ${metadata}` };
      refused(`${name} of nobody`, await send(route, victim.id, undefined), signIn);
      const agents = { "the agent itself": victim.token, "an administrator": admin.token, "a delegate": delegate };
      const all = [...tokens, ...Object.entries(agents).map(([kind, token]) => ({ name: kind, token }))];
      for (const { name: kind, token } of all) {
        const denied = { status: 403, code: "person_required", challenge: `${realm}, ${metadata}` };
        refused(`${name} with ${kind}`, await send(route, victim.id, token), denied, token);
      }
      continue;
    }
    if (wanted === "bootstrap") {
      const without = { status: 401, code: "missing_token", challenge: `${realm}, ${metadata}` };
      refused(`${name} without a token`, await send(route, victim.id, undefined), without);
      for (const { name: kind, token } of [
        ...tokens,
        { name: "an administrator", token: admin.token },
        { name: "a delegate", token: delegate },
      ]) {
        const invalid = {
          status: 401,
          code: "invalid_token",
          challenge: `${realm}, error="invalid_token", ${metadata}`,
        };
        refused(`${name} with ${kind}`, await send(route, victim.id, token), invalid, token);
      }
      continue;
    }
    if (wanted !== "registration") {
      const without = { status: 401, code: "missing_token", challenge: `${realm}, ${metadata}` };
      refused(`${name} without a token`, await send(route, victim.id, undefined), without);
    }
    for (const { name: kind, token, code } of tokens) {
      const fault = code === "missing_token" ? "" : `, error="invalid_token"`;
      const challenge = `${realm}${fault}, ${metadata}`;
      refused(`${name} with ${kind}`, await send(route, victim.id, token), { status: 401, code, challenge }, token);
    }

    if (!gateway) {
      const denied = { status: 403, code: "delegated_token", challenge: `${realm}, ${metadata}` };
      refused(`${name} with a delegated token`, await send(route, victim.id, delegate), denied, delegate);
    }

    // That the tokens above were refused for what is wrong with them: a good one gets as far as the body, which is too long.
    const body = route.method === "GET" ? undefined : "x".repeat(64 * 1024 + 1);
    if (!gateway) {
      const good = await send(route, victim.id, wanted === "admin" ? admin.token : victim.token, body);
      const through = wanted === "own" ? [404, 413] : [200, 413];
      if (!through.includes(good.status)) faults.push(`${name} with a good token: ${good.status}`);
    }

    if (wanted === "self" || wanted === "admin") {
      const challenge = `${realm}, error="insufficient_scope", scope="*:*:*", ${metadata}`;
      const denied = { status: 403, code: "insufficient_permissions", challenge };
      const [theirs, nobodys] = [
        await send(route, victim.id, attacker.token),
        await send(route, "agt_000000000000000000000000", attacker.token),
      ];
      refused(`${name} of another agent`, theirs, denied, attacker.token);
      refused(`${name} of an agent that is not`, nobodys, denied, attacker.token);
      if (faceless(theirs) !== faceless(nobodys)) faults.push(`${name}: tells which agents exist`);
    }
    if (wanted === "own") {
      refused(
        `${name} of another's`,
        await send(route, "whk_0", attacker.token, route.method === "GET" ? undefined : "{}"),
        {
          status: 404,
          code: "not_found",
        },
      );
    }
  }
  return { faults, calls };
}

export const visits = (routes: readonly Route[]): readonly Visited[] => [...routes, ...GATEWAY];

function parse(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return { code: "not JSON" };
  }
}

/** An answer without what differs between any two. */
function faceless({ status, headers, text }: { status: number; headers: Headers; text: string }): string {
  const { request_id: _, ...body } = parse(text);
  return JSON.stringify([status, [...headers].filter(([name]) => name !== "x-request-id"), body]);
}
