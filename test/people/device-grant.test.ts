import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { Authenticator } from "../support/authenticator.ts";
import { SLOW } from "../support/extents.ts";
import { firstAdministrator, invite, letIn, openLink, callWith, type SignedInPerson } from "../support/people.ts";
import { post } from "../oauth/clients.ts";
import { rateLimit } from "../support/rate-limit.ts";
import { world, type Answer, type Registered } from "../support/world.ts";

const GRANT = "urn:ietf:params:oauth:grant-type:device_code";
const CLIENT = "agentauth-cli";
const SETTINGS = { REGISTRATION: "approval", BOOTSTRAP: "keep", STANDING_TTL_SECONDS: "0" };
// The tests are many people in one minute.
const self = world({ ...SETTINGS, RATE_VERIFY: { limit: async () => ({ success: true }) } });
let administrator: SignedInPerson;
let owner: SignedInPerson;
let auditor: SignedInPerson;
let agent: Registered;

beforeAll(async () => {
  administrator = await firstAdministrator(self);
  owner = await invite(self, administrator, "owner");
  auditor = await invite(self, administrator, "auditor");
  agent = await world({ REGISTRATION: "open" }).agent(["lab:things:read"]);
});
afterEach(() => void vi.useRealTimers());

const begin = async (ip?: string): Promise<{ device_code: string; user_code: string }> => {
  const { status, body } = await post(self, "/oauth/device_authorization", { client_id: CLIENT }, ip ? { ip } : {});
  expect(status).toBe(200);
  return body;
};
const poll = (device_code: string, client_id = CLIENT) =>
  post(self, "/oauth/token", { grant_type: GRANT, device_code, client_id });
const refusal = ({ status, body }: Answer) => [status, body.error ?? body.code];
const look = (person: SignedInPerson, user_code: string) =>
  person.call("/sign-in/device", { method: "POST", json: { user_code } });
const decide = (person: SignedInPerson, user_code: string, decision = "approved") =>
  person.confirmed("/sign-in/device/decide", { method: "POST", json: { user_code, decision } });

const command = (person: SignedInPerson): Promise<string> => letIn(self, person);

/** Moves the clock of the Worker and of its database. */
function later(ms: number): void {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + ms });
}

describe("the device grant", () => {
  it("signs a person in for a command: a code that they type, what asks and from where, and a passkey", async () => {
    const { body } = await post(
      self,
      "/oauth/device_authorization",
      { client_id: CLIENT, unknown: "ignored" },
      { ip: "192.0.2.7", headers: { "user-agent": "node\t20" } },
    );
    expect(body).toEqual({
      device_code: expect.stringMatching(/^dc_[0-9A-Za-z]{43}$/),
      user_code: expect.stringMatching(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/),
      verification_uri: "https://auth.example.com/device",
      expires_in: 600,
      interval: 5,
    });
    const typed = ` ${body.user_code.toLowerCase().replace("-", " ")} `;
    const shown = await look(owner, typed);
    expect(shown.body).toMatchObject({
      client: "AgentAuth command line",
      ip_address: "192.0.2.7",
      user_agent: "node?20",
      same_address: false,
    });
    const unconfirmed = await owner.call("/sign-in/device/decide", {
      method: "POST",
      json: { user_code: typed, decision: "approved" },
    });
    expect([unconfirmed.status, unconfirmed.body.code]).toEqual([403, "reauthentication_required"]);
    expect((await decide(owner, typed)).status).toBe(200);

    const token = await poll(body.device_code);
    expect(token.body).toEqual({
      access_token: expect.stringMatching(/^pcl_[0-9A-Za-z]{43}$/),
      token_type: "Bearer",
      expires_in: 8 * 3600 - 600,
      scope: "",
    });
    const me = await self.call("/people/me", { token: token.body.access_token });
    expect([me.status, me.body.person.email]).toEqual([200, owner.email]);
    const { sessions } = (await owner.call(`/people/${owner.id}/sessions`)).body;
    expect(sessions[0]).toMatchObject({ client: "AgentAuth command line", current: false, method: "passkey" });
    expect(sessions[1]).toMatchObject({ client: null, current: true });
    const notices = (await administrator.call("/people/me")).body.notices;
    expect(notices[0]).toMatchObject({ kind: "command.approved", about: { id: owner.id } });
    // Nothing of it is in the database as it was sent.
    const rows = await self.env.DB.prepare("SELECT * FROM person_sessions").all();
    expect(JSON.stringify(rows.results)).not.toContain(token.body.access_token);
  });

  it("names itself in the metadata", async () => {
    const { body } = await self.call("/.well-known/oauth-authorization-server");
    expect(body.device_authorization_endpoint).toBe("https://auth.example.com/oauth/device_authorization");
    expect(body.grant_types_supported).toContain(GRANT);
  });

  it("answers as RFC 8628 says until somebody has decided, and slows down who asks too often", async () => {
    const { device_code, user_code } = await begin();
    expect(refusal(await poll(device_code))).toEqual([400, "authorization_pending"]);
    expect(refusal(await poll(device_code))).toEqual([400, "slow_down"]);
    later(8000);
    expect(refusal(await poll(device_code))).toEqual([400, "slow_down"]);
    later(20_000);
    expect(refusal(await poll(device_code))).toEqual([400, "authorization_pending"]);
    await look(owner, user_code);
    expect((await decide(owner, user_code, "denied")).status).toBe(200);
    expect(refusal(await poll(device_code))).toEqual([400, "access_denied"]);
  });

  it("is recorded with who decided from where, and which command it was, whatever the decision is", SLOW, async () => {
    for (const [decision, ip] of [
      ["denied", "192.0.2.8"],
      ["approved", "192.0.2.9"],
    ] as const) {
      const { user_code } = await begin(ip);
      await look(owner, user_code);
      expect((await decide(owner, user_code, decision)).status).toBe(200);
      expect((await decide(owner, user_code, decision)).status).toBe(404);
      const decided = (await self.records("")).filter(
        ({ action, after }) => action === "command.decided" && after?.ip_address === ip,
      );
      expect(decided).toMatchObject([
        {
          actor: { type: "person", id: owner.id },
          outcome: "success",
          ipAddress: expect.stringMatching(/^10\./),
          sessionId: expect.stringMatching(/^pse_/),
          requestId: expect.any(String),
          after: { decision, client_id: CLIENT, ip_address: ip },
        },
      ]);
      expect(JSON.stringify(decided)).not.toContain(user_code.slice(0, 4));
    }
  });

  it("expires", SLOW, async () => {
    const [typed, waiting] = [await begin(), await begin()];
    await look(owner, typed.user_code);
    later(600_001);
    expect(refusal(await decide(owner, typed.user_code))).toEqual([404, expect.any(String)]);
    expect(refusal(await look(owner, waiting.user_code))).toEqual([404, expect.any(String)]);
    expect(refusal(await poll(waiting.device_code))).toEqual([400, "expired_token"]);
  });

  it("gives one token for a code, however often it is asked for at once", SLOW, async () => {
    const { device_code, user_code } = await begin();
    await look(owner, user_code);
    await decide(owner, user_code);
    const answers = await Promise.all([1, 2, 3].map(() => poll(device_code)));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 400, 400]);
    expect(refusal(await poll(device_code))).toEqual([400, "invalid_grant"]);
    expect(refusal(await decide(owner, user_code))).toEqual([404, expect.any(String)]);
  });

  it("is for the command line only, and its codes are nobody else's", async () => {
    const unknown = await post(self, "/oauth/device_authorization", { client_id: agent.id });
    expect(refusal(unknown)).toEqual([401, "invalid_client"]);
    const { device_code } = await begin();
    expect(refusal(await poll(device_code, agent.id))).toEqual([401, "invalid_client"]);
    expect(refusal(await poll(`dc_${"x".repeat(43)}`))).toEqual([400, "invalid_grant"]);
    expect(refusal(await post(self, "/oauth/token", { grant_type: GRANT, client_id: CLIENT }))).toEqual([
      400,
      "invalid_request",
    ]);
  });

  it("lives for 8 hours after the person has confirmed it, and however much it is used no longer", async () => {
    const token = await command(owner);
    later(4 * 3_600_000);
    expect((await self.call("/people/me", { token })).status).toBe(200);
    later(4 * 3_600_000);
    expect(refusal(await self.call("/people/me", { token }))).toEqual([
      401,
      expect.stringContaining("The session has ended."),
    ]);
  });

  it("ends in the person's account, by its own revocation, and with the person", SLOW, async () => {
    const leaver = await invite(self, administrator, "auditor");
    const [first, second, third] = [await command(owner), await command(owner), await command(leaver)];
    const works = async (token: string) => (await self.call("/people/me", { token })).status === 200;
    const { sessions } = (await owner.call(`/people/${owner.id}/sessions`)).body;
    await owner.call(`/people/${owner.id}/sessions/${sessions[0].id}`, { method: "DELETE" });
    expect([await works(first), await works(second)]).toEqual([true, false]);
    const revoked = await post(self, "/oauth/revoke", { token: first, client_id: CLIENT });
    expect([revoked.status, await works(first)]).toEqual([200, false]);
    const suspend = { method: "PATCH", json: { status: "suspended" } };
    expect((await administrator.confirmed(`/people/${leaver.id}`, suspend)).status).toBe(200);
    expect(await works(third)).toBe(false);
  });
});

describe("a code that is typed for somebody else", () => {
  it("shows where the command runs, and that it is not this browser", async () => {
    const { user_code } = await begin("203.0.113.9");
    const { body } = await owner.call("/sign-in/device", { method: "POST", json: { user_code }, ip: "198.51.100.1" });
    expect([body.ip_address, body.same_address]).toEqual(["203.0.113.9", false]);
  });

  it("is not in a link: no address has it, and nothing is decided that was not shown", async () => {
    const { user_code } = await begin();
    expect(refusal(await decide(owner, user_code))).toEqual([404, expect.any(String)]);
  });

  it("needs a passkey for exactly this code and this decision", async () => {
    const [mine, theirs] = [await begin(), await begin()];
    for (const { user_code } of [mine, theirs]) await look(owner, user_code);
    const path = "/sign-in/device/decide";
    const json = (user_code: string) => ({ user_code, decision: "approved" });
    const asked = await owner.call(path, { method: "POST", json: json(mine.user_code) });
    const headers = { "agentauth-assertion": await owner.authenticator.confirm(asked.body.assertion) };
    const other = await owner.call(path, { method: "POST", json: json(theirs.user_code), headers });
    expect([other.status, other.body.code]).toEqual([403, "assertion_refused"]);
    const another = await administrator.call(path, { method: "POST", json: json(mine.user_code), headers });
    expect([another.status, another.body.code]).toEqual([403, "assertion_refused"]);
    expect(refusal(await poll(theirs.device_code))).toEqual([400, "authorization_pending"]);
  });

  it("is decided by a page of this deployment only, and by nobody whom a link has signed in", async () => {
    const { user_code } = await begin();
    const foreign = await owner.call("/sign-in/device", {
      method: "POST",
      json: { user_code },
      headers: { origin: "https://evil.example.com" },
    });
    expect([foreign.status, foreign.body.code]).toEqual([403, "cross_origin"]);
    const made = await administrator.confirmed(`/people/${owner.id}/sign-in-links`, { method: "POST" });
    const link = await openLink(self, made.body.link.url);
    const byLink = await callWith(self, link.cookie, "/sign-in/device", { method: "POST", json: { user_code } });
    expect([byLink.status, byLink.body.code]).toEqual([403, "role_required"]);
    const byAgent = await self.call("/sign-in/device", { method: "POST", json: { user_code }, token: agent.token });
    expect([byAgent.status, byAgent.body.code]).toEqual([403, "person_required"]);
  });

  it("gives nothing once the person who let it in is suspended", SLOW, async () => {
    const person = await invite(self, administrator, "owner");
    const { device_code, user_code } = await begin();
    await look(person, user_code);
    await decide(person, user_code);
    // Also if they may sign in again before the command asks: like their sessions, it has ended.
    for (const status of ["suspended", "active"]) {
      const json = { status };
      expect((await administrator.confirmed(`/people/${person.id}`, { method: "PATCH", json })).status).toBe(200);
    }
    expect(refusal(await poll(device_code))).toEqual([400, "access_denied"]);
  });

  it(
    "gives nothing once a passkey of the person who let it in is deleted, as their sessions end then",
    SLOW,
    async () => {
      const person = await invite(self, administrator, "owner");
      const path = `/people/${person.id}/passkeys`;
      const [first] = (await person.call(path)).body.passkeys;
      const { options } = (await person.call(`${path}/options`, { method: "POST" })).body;
      const json = { label: "second", ...(await new Authenticator().create(options)) };
      expect((await person.confirmed(path, { method: "POST", json })).body.success).toBe(true);
      const [waiting, kept] = [await begin(), await begin()];
      for (const [one, code] of [[person, waiting.user_code] as const, [owner, kept.user_code] as const]) {
        await look(one, code);
        expect((await decide(one, code)).status).toBe(200);
      }
      expect((await administrator.confirmed(`${path}/pky_0`, { method: "DELETE" })).status).toBe(404);
      expect((await administrator.confirmed(`${path}/${first.id}`, { method: "DELETE" })).status).toBe(200);
      expect(refusal(await poll(waiting.device_code))).toEqual([400, "access_denied"]);
      expect((await poll(kept.device_code)).status).toBe(200);
    },
  );

  it("cannot be guessed: a person has few tries, and a code is shown few times", SLOW, async () => {
    const { user_code } = await begin();
    const shown: number[] = [];
    for (let attempt = 0; attempt < 11; attempt++) shown.push((await look(administrator, user_code)).status);
    expect(shown).toEqual([...Array.from({ length: 10 }, () => 200), 404]);
    const guesser = await invite(self, administrator, "owner");
    const tries: number[] = [];
    // The clock stands still: a minute that ends between the tries would begin their count anew.
    later(0);
    const limited = world({ ...SETTINGS, RATE_VERIFY: rateLimit(30) });
    const json = { user_code: "BBBB-BBBB" };
    for (let attempt = 0; attempt < 31; attempt++) {
      tries.push((await callWith(limited, guesser.cookie, "/sign-in/device", { method: "POST", json })).status);
    }
    expect(tries.at(-1)).toBe(429);
    expect((await look(owner, "AAAA-AAAA")).status).toBe(400);
  });
});

describe("a command that a person has let in", () => {
  let token: string;
  const call = (path: string, init: Parameters<typeof self.call>[1] = {}) => self.call(path, { token, ...init });
  const browserRequired = (answer: Answer) =>
    expect([answer.status, answer.body.code]).toEqual([403, "browser_required"]);
  beforeAll(async () => {
    token = await command(administrator);
  });

  it("does what its person may do to agents", async () => {
    expect((await call("/agents")).status).toBe(200);
    expect((await call("/audit")).status).toBe(200);
    expect((await call("/health/details")).status).toBe(200);
    const suspended = await call(`/agents/${agent.id}/status`, { method: "PUT", json: { status: "suspended" } });
    expect(suspended.body.agent.status).toBe("suspended");
    browserRequired(await call(`/agents/${agent.id}/status`, { method: "PUT", json: { status: "active" } }));
    const json = { status: "active" };
    expect((await administrator.call(`/agents/${agent.id}/status`, { method: "PUT", json })).status).toBe(200);
  });

  it("does nothing that a person has to do: deciding, people, exports, administrators", async () => {
    for (const [method, path, json] of [
      ["GET", "/people", undefined],
      ["POST", "/people", { email: "x@example.com", role: "admin" }],
      ["PATCH", `/people/${owner.id}`, { role: "admin" }],
      ["POST", `/people/${owner.id}/sign-in-links`, undefined],
      ["GET", `/people/${administrator.id}/sessions`, undefined],
      ["POST", `/people/${administrator.id}/passkeys/options`, undefined],
      ["POST", "/sign-in/device", { user_code: "BBBB-BBBB" }],
      ["POST", "/sign-in/device/decide", { user_code: "BBBB-BBBB", decision: "approved" }],
      ["GET", "/audit/export", undefined],
      ["PUT", `/agents/${agent.id}/permissions`, { permissions: ["*:*:*"] }],
      ["PUT", `/agents/${agent.id}/grants`, { grants: [{ permission: "*:*:*" }] }],
      ["PATCH", `/agents/${agent.id}`, { grantable: ["lab:things:write"] }],
      ["PATCH", `/agents/${agent.id}`, { allowed_ips: null }],
      ["PATCH", `/agents/${agent.id}`, { owner_email: "x@example.com" }],
      ["PATCH", `/agents/${agent.id}`, { owner_person_id: administrator.id }],
      ["PATCH", `/agents/${agent.id}`, { dpop_bound_access_tokens: false }],
    ] as const) {
      const answer = await call(path, { method, ...(json && { json }) });
      expect([method, path, answer.status, answer.body.code]).toEqual([method, path, 403, "browser_required"]);
    }
    expect((await call(`/agents/${agent.id}`, { method: "PATCH", json: { description: "x" } })).status).toBe(200);
  });

  it("registers agents that wait for somebody to approve them in a browser", async () => {
    const json = { name: "Made by a command", owner_email: "a@example.com", permissions: ["lab:things:write"] };
    const { status, body } = await call("/agents/register", { method: "POST", json });
    expect([status, body.agent.status]).toEqual([201, "inactive"]);
    browserRequired(await call(`/agents/${body.agent.agent_id}/status`, { method: "PUT", json: { status: "active" } }));
    const admin = { ...json, permissions: ["*:*:*"] };
    expect((await call("/agents/register", { method: "POST", json: admin })).status).toBe(403);
  });

  it(
    "loosens nothing that is narrowed while it grants, nor does an agent, whichever version they name",
    SLOW,
    async () => {
      const [one, admin] = [await world({ REGISTRATION: "open" }).agent(["github:issues:read"]), await self.admin()];
      const path = `/agents/${one.id}/grants`;
      const wide = { permission: "github:issues:read" };
      const narrow = { ...wide, where: { "path.owner": { eq: "octo" } } };
      const { DB } = self.env;
      let meanwhile: (() => Promise<unknown>) | undefined;
      const batch = async (statements: D1PreparedStatement[]) => {
        const [change, isWrite] = [meanwhile, statements.length > 3];
        if (isWrite) meanwhile = undefined;
        if (isWrite) await change?.();
        return DB.batch(statements);
      };
      const raced = world({ ...SETTINGS, DB: { prepare: DB.prepare.bind(DB), batch } });
      for (const caller of [token, admin.token]) {
        const set = (grants: object[]) => administrator.call(path, { method: "PUT", json: { grants } });
        const { grants_version: version } = (await set([wide])).body;
        meanwhile = () => set([narrow]);
        const json = { grants: [wide], grants_version: version + 1 };
        const answer = await raced.call(path, { method: "PUT", token: caller, json });
        expect([answer.status, answer.body.code]).toEqual([409, "grants_changed"]);
        expect((await set([narrow])).body.grants).toMatchObject([narrow]);
        expect(meanwhile).toBeDefined();
        meanwhile = undefined;
      }
    },
  );

  it("grants below the ceiling only, and may narrow", SLOW, async () => {
    const path = `/agents/${agent.id}`;
    const put = (permissions: string[]) => call(`${path}/permissions`, { method: "PUT", json: { permissions } });
    const grants = (...list: object[]) => call(`${path}/grants`, { method: "PUT", json: { grants: list } });
    browserRequired(await put(["lab:things:read", "github:issues:read"]));
    browserRequired(await grants({ permission: "lab:things:read" }, { permission: "github:issues:read" }));
    const ceiling = { method: "PATCH", json: { grantable: ["github:issues:*"] } };
    expect((await administrator.call(path, ceiling)).status).toBe(200);
    expect((await put(["lab:things:read", "github:issues:read"])).body.agent.permissions).toHaveLength(2);
    browserRequired(await put(["lab:things:read", "lab:things:write"]));
    const limited = { permission: "github:issues:write", where: { "path.owner": "octo" } };
    expect(await grants({ permission: "lab:things:read" }, limited)).toMatchObject({ status: 200 });
    expect(await put(["lab:things:read", "github:issues:write"])).toMatchObject({ status: 200 });
    expect(await grants(limited)).toMatchObject({ status: 200 });
    // What it has taken away, it does not give back: the ceiling does not have it.
    browserRequired(await grants({ permission: "lab:things:read" }, limited));
    browserRequired(await put(["lab:things:read"]));
  });

  it("makes keys only within 5 minutes after the passkey", async () => {
    const fresh = await command(administrator);
    const create = () => self.call(`/agents/${agent.id}/keys`, { method: "POST", token: fresh, json: {} });
    expect((await create()).status).toBe(201);
    later(301_000);
    browserRequired(await create());
  });

  it("makes no key of an administrator, with which it would do everything that it may not", SLOW, async () => {
    const [fresh, admin] = [await command(administrator), await self.admin()];
    for (const path of ["keys", "rotate-key"]) {
      const made = await self.call(`/agents/${admin.id}/${path}`, { method: "POST", token: fresh, json: {} });
      browserRequired(made);
      expect(made.body.message).toContain("*:*:*");
      expect((await administrator.call(`/agents/${admin.id}/${path}`, { method: "POST", json: {} })).status).toBe(
        path === "keys" ? 201 : 200,
      );
    }
    // Nor does it get the answer that its person has got in a browser.
    const init = { method: "POST", json: {}, headers: { "idempotency-key": "the-same-key" } };
    expect((await administrator.call(`/agents/${admin.id}/keys`, init)).status).toBe(201);
    const again = await self.call(`/agents/${admin.id}/keys`, { ...init, token: fresh });
    expect([again.status, again.body.code, again.body.credentials]).toEqual([403, "browser_required", undefined]);
  });

  it("deletes agents only within 5 minutes after the passkey", SLOW, async () => {
    const fresh = await command(administrator);
    const [one, two] = [await world().agent(), await world().agent()];
    const remove = ({ id }: Registered) => self.call(`/agents/${id}`, { method: "DELETE", token: fresh });
    expect((await remove(one)).status).toBe(200);
    later(301_000);
    browserRequired(await remove(two));
    const unconfirmed = await administrator.call(`/agents/${two.id}`, { method: "DELETE" });
    expect([unconfirmed.status, unconfirmed.body.code]).toEqual([403, "reauthentication_required"]);
    expect((await administrator.confirmed(`/agents/${two.id}`, { method: "DELETE" })).status).toBe(200);
  });

  it(
    "leads no deliveries elsewhere, and gets no secret that signs them, later than 5 minutes after the passkey",
    SLOW,
    async () => {
      const [fresh, agent] = [await command(administrator), await world().agent()];
      const json = { url: "https://hooks.example.com/one", events: ["agent.verified"] };
      const { body } = await self.call("/webhooks", { method: "POST", token: agent.token, json });
      const path = `/webhooks/${body.webhook.id}`;
      const change = (to: object) => self.call(path, { method: "PUT", token: fresh, json: to });
      const secret = () => self.call(`${path}/regenerate-secret`, { method: "POST", token: fresh });
      expect((await change({ url: "https://hooks.example.com/two" })).status).toBe(200);
      expect((await secret()).status).toBe(200);
      later(301_000);
      browserRequired(await change({ url: "https://hooks.example.com/three" }));
      browserRequired(await secret());
      // It can still stop them, and its person goes on in a browser.
      expect((await change({ is_active: false })).status).toBe(200);
      const moved = await administrator.call(path, { method: "PUT", json: { url: "https://hooks.example.com/four" } });
      expect([moved.status, moved.body.webhook?.url]).toEqual([200, "https://hooks.example.com/four"]);
    },
  );

  it("is not taken for another kind of credential, nor another for it", async () => {
    const asCookie = await callWith(self, token, "/people/me");
    expect([asCookie.status, asCookie.body.code]).toEqual([401, "sign_in_required"]);
    const cookieAsToken = await self.call("/people/me", { token: administrator.cookie });
    expect(cookieAsToken.status).toBe(403);
    const both = await administrator.call("/people/me", { token });
    expect([both.status, both.body.code]).toEqual([400, "several_credentials"]);
    for (const path of ["/proxy/lab/things/1", "/proxy/github/repos/o/r/issues"]) {
      expect((await call(path)).status).toBe(401);
    }
    expect((await call("/mcp", { method: "POST", json: {} })).status).toBe(401);
    expect(
      (await post(self, "/oauth/introspect", { token: agent.token }, { headers: { authorization: `Bearer ${token}` } }))
        .status,
    ).toBe(401);
    expect((await call("/webhooks", { method: "POST", json: {} })).body.code).toBe("agent_required");
  });

  it("of an owner or an auditor does no more than they do", SLOW, async () => {
    const [ofOwner, ofAuditor] = [await command(owner), await command(auditor)];
    const suspend = { method: "PUT", json: { status: "suspended" } };
    for (const one of [ofOwner, ofAuditor]) {
      const answer = await self.call(`/agents/${agent.id}/status`, { ...suspend, token: one });
      expect([answer.status, answer.body.code]).toEqual([403, "role_required"]);
    }
    expect((await self.call("/agents", { token: ofAuditor })).status).toBe(200);
    expect((await self.call("/health/details", { token: ofOwner })).status).toBe(403);
  });
});
