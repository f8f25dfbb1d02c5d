import { beforeAll, describe, expect, it } from "vitest";
import { Authenticator } from "../support/authenticator.ts";
import {
  callWith,
  cookieOf,
  enrol,
  firstAdministrator,
  invite,
  openLink,
  OWN_PAGE,
  signIn,
  type SignedInPerson,
} from "../support/people.ts";
import { world } from "../support/world.ts";
import { few, SLOW } from "../support/extents.ts";

const self = world();
let admin: SignedInPerson;
let owner: SignedInPerson;
let auditor: SignedInPerson;

const bootstrap = (json: object, token = self.env.ADMIN_BOOTSTRAP_TOKEN) =>
  self.call("/people/bootstrap", { method: "POST", token, json });
const post = (json: object) => ({ method: "POST", json });
const patch = (json: object) => ({ method: "PATCH", json });
const run = (sql: string, ...values: unknown[]) =>
  self.env.DB.prepare(sql)
    .bind(...values)
    .run();

/** A link for a person, whom an administrator makes it for. */
async function linkFor(person: SignedInPerson): Promise<string> {
  const { body } = await admin.confirmed(`/people/${person.id}/sign-in-links`, { method: "POST" });
  return body.link.url;
}
const tokenOf = (url: string) => new URL(url).hash.replace("#link=", "");

beforeAll(async () => {
  const json = { email: "Many@Example.com " };
  const tried = await Promise.all([bootstrap(json), bootstrap(json), bootstrap({ email: "other@example.com" })]);
  expect(tried.map(({ status }) => status).sort()).toEqual([201, 409, 409]);
  expect(tried.filter(({ status }) => status === 409).map(({ body }) => body.code)).toEqual(
    Array(2).fill("people_exist"),
  );
  await run("DELETE FROM people");
  admin = await firstAdministrator(self);
  owner = await invite(self, admin, "owner");
  auditor = await invite(self, admin, "auditor");
});

describe("the bootstrap token", () => {
  it("makes the first person and no other, and registers no agents any more", async () => {
    expect((await bootstrap({ email: "second@example.com" })).body.code).toBe("people_exist");
    const json = { name: "an agent", owner_email: "owner@example.com", permissions: ["*:*:*"] };
    const refused = await self.call("/agents/register", { ...post(json), token: self.env.ADMIN_BOOTSTRAP_TOKEN });
    expect([refused.status, refused.body.code]).toEqual([403, "bootstrap_ended"]);
    const keeping = world({ BOOTSTRAP: "keep" });
    const kept = await keeping.call("/agents/register", { ...post(json), token: self.env.ADMIN_BOOTSTRAP_TOKEN });
    expect(kept.status).toBe(201);
  });

  it("is not replaced by another token", async () => {
    const agent = await self.agent();
    for (const token of ["wrong-token-wrong-token-wrong", agent.token]) {
      expect((await bootstrap({ email: "me@example.com" }, token)).status).toBe(401);
    }
  });
});

describe("people", () => {
  it("are listed for administrators and auditors", async () => {
    for (const who of [admin, auditor]) {
      const { status, body } = await who.call("/people?limit=2");
      expect([status, body.people.length]).toEqual([200, 2]);
      const next = await who.call(`/people?cursor=${body.next_cursor}`);
      expect(next.body.people[0].id).toBe(auditor.id);
    }
    expect((await owner.call("/people")).body.code).toBe("role_required");
    expect((await owner.call(`/people/${admin.id}`)).body.code).toBe("role_required");
    expect((await owner.call(`/people/${owner.id}`)).body.person.role).toBe("owner");
  });

  it("have one address each: recased, changed and look-alike ones make nobody else and raise nobody", async () => {
    for (const email of ["FIRST@example.com", " first@EXAMPLE.com "]) {
      const taken = await admin.confirmed("/people", post({ email, role: "admin" }));
      expect([taken.status, taken.body.code]).toEqual([409, "email_taken"]);
    }
    for (const email of ["fırst@example.com", "first@exаmple.com", "first@example.com\u200b", "first"]) {
      expect((await admin.confirmed("/people", post({ email, role: "admin" }))).body.code).toBe("validation_error");
    }
    const taken = await admin.confirmed(`/people/${owner.id}`, patch({ email: "First@Example.Com" }));
    expect(taken.body.code).toBe("email_taken");
    const changed = await admin.confirmed(`/people/${owner.id}`, patch({ email: "changed@example.com" }));
    expect(changed.body.person).toMatchObject({ id: owner.id, email: "changed@example.com", role: "owner" });
    expect((await owner.call("/people/me")).body.person.role).toBe("owner");
  });

  it("are told what happened to them, and administrators what happened to others", SLOW, async () => {
    const url = await linkFor(owner);
    for (const who of [owner, admin]) {
      const [told] = (await who.call("/people/me")).body.notices;
      expect(told).toMatchObject({
        kind: "link.created",
        about: { type: "person", id: owner.id },
        by: { type: "person", id: admin.id, name: "First" },
      });
    }
    expect((await auditor.call("/people/me")).body.notices.map(({ kind }: { kind: string }) => kind)).not.toContain(
      "link.created",
    );
    await openLink(self, url);
    expect((await admin.call("/people/me")).body.notices[0]).toMatchObject({ kind: "link.used", by: { id: owner.id } });
  });

  it("keep an administrator: the last one is neither deleted, nor demoted, nor suspended", async () => {
    for (const change of [patch({ role: "owner" }), patch({ status: "suspended" }), { method: "DELETE" }]) {
      const { status, body } = await admin.confirmed(`/people/${admin.id}`, change);
      expect([status, body.code]).toEqual([409, "last_administrator"]);
    }
    // One who has been invited and has no passkey could not do it.
    await admin.confirmed("/people", post({ email: "invited@example.com", role: "admin" }));
    expect((await admin.confirmed(`/people/${admin.id}`, { method: "DELETE" })).body.code).toBe("last_administrator");
  });

  it("keep one of two administrators who demote each other at once", SLOW, async () => {
    const other = await invite(self, admin, "admin");
    const [first, second] = await Promise.all([
      admin.confirmed(`/people/${other.id}`, patch({ role: "owner" })),
      other.confirmed(`/people/${admin.id}`, patch({ role: "owner" })),
    ]);
    expect([first.status, second.status].filter((status) => status === 200)).toHaveLength(1);
    // For the tests that follow.
    await run("UPDATE people SET role = 'admin' WHERE id = ?1", admin.id);
    await admin.confirmed(`/people/${other.id}`, { method: "DELETE" });
    expect((await other.call("/people/me")).body.code).toBe("sign_in_required");
  });

  it("lose what they may with the next request: a role, an account", async () => {
    const one = await invite(self, admin, "auditor");
    expect((await one.call("/people")).status).toBe(200);
    await admin.confirmed(`/people/${one.id}`, patch({ role: "owner" }));
    expect((await one.call("/people")).body.code).toBe("role_required");
    await admin.confirmed(`/people/${one.id}`, patch({ status: "suspended" }));
    expect((await one.call("/people/me")).body.code).toBe("sign_in_required");
    expect((await signIn(self, one.authenticator)).body.code).toBe("sign_in_refused");
    expect((await admin.confirmed(`/people/${one.id}/sign-in-links`, { method: "POST" })).status).toBe(404);
  });
});

describe("a session", () => {
  it("has a cookie that scripts do not see, other hosts do not set, and other sites do not send", async () => {
    const signed = await signIn(self, owner.authenticator);
    expect(signed.headers.get("set-cookie")).toMatch(
      /^__Host-agentauth=ps_[0-9A-Za-z]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=604800; Secure$/,
    );
    const { results } = await self.env.DB.prepare("SELECT * FROM person_sessions").all();
    expect(JSON.stringify(results)).not.toContain(cookieOf(signed));
  });

  it("is listed, and ended elsewhere at once", SLOW, async () => {
    const cookie = cookieOf(await signIn(self, owner.authenticator));
    const { sessions } = (await owner.call(`/people/${owner.id}/sessions`)).body;
    const other = sessions.find(({ current }: { current: boolean }) => !current);
    expect(sessions.filter(({ current }: { current: boolean }) => current)).toHaveLength(1);
    expect((await auditor.call(`/people/${owner.id}/sessions/${other.id}`, { method: "DELETE" })).status).toBe(403);
    const { id } = (await callWith(self, cookie, "/people/me")).body.session;
    expect((await owner.call(`/people/${owner.id}/sessions/${id}`, { method: "DELETE" })).status).toBe(200);
    expect((await callWith(self, cookie, "/people/me")).body.code).toBe("sign_in_required");
    expect((await owner.call(`/people/${owner.id}/sessions/${id}`, { method: "DELETE" })).status).toBe(404);
  });

  it("ends when it has been idle for 12 hours, after 7 days, and when somebody signs out", async () => {
    const cookie = cookieOf(await signIn(self, owner.authenticator));
    const { id } = (await callWith(self, cookie, "/people/me")).body.session;
    const hours = (n: number) => n * 3_600_000;
    const age = (column: string, ms: number) =>
      run(`UPDATE person_sessions SET ${column} = ?1 WHERE id = ?2`, Date.now() - ms, id);
    await age("last_used_at", hours(12) - 60_000);
    expect((await callWith(self, cookie, "/people/me")).status).toBe(200);
    await age("last_used_at", hours(12) + 1000);
    expect((await callWith(self, cookie, "/people/me")).body.code).toBe("sign_in_required");
    await age("last_used_at", 0);
    await age("expires_at", 1000);
    expect((await callWith(self, cookie, "/people/me")).body.code).toBe("sign_in_required");
    const next = cookieOf(await signIn(self, owner.authenticator));
    const out = await callWith(self, next, "/sign-out", { method: "POST" });
    expect(out.headers.get("set-cookie")).toContain("Max-Age=0");
    expect((await callWith(self, next, "/people/me")).body.code).toBe("sign_in_required");
  });

  it("changes nothing for a page of another origin", async () => {
    const { id } = await self.agent();
    const cookie = { cookie: `__Host-agentauth=${admin.cookie}` };
    const forged: Record<string, string>[] = [
      {},
      { origin: OWN_PAGE.origin },
      { "x-agentauth-console": "1" },
      { ...OWN_PAGE, origin: "https://evil.example.com" },
      { ...OWN_PAGE, origin: "http://auth.example.com" },
      { ...OWN_PAGE, origin: "https://auth.example.com:8443" },
      { ...OWN_PAGE, origin: "null" },
      { ...OWN_PAGE, "x-agentauth-console": "0" },
    ];
    for (const headers of forged) {
      for (const path of [`/agents/${id}/revoke`, "/sign-out", "/people"]) {
        const { status, body } = await self.call(path, { method: "POST", headers: { ...cookie, ...headers } });
        expect([status, body.code]).toEqual([403, "cross_origin"]);
      }
    }
    expect((await admin.call(`/agents/${id}`)).body.agent.status).toBe("active");
  });

  it("is never one that somebody has set before", async () => {
    const fixed = "ps_0000000000000000000000000000000000000000000";
    const { body } = await callWith(self, fixed, "/sign-in/passkey/options", { method: "POST" });
    const json = await owner.authenticator.get(body.options);
    const signed = await callWith(self, fixed, "/sign-in/passkey/verify", post(json));
    expect(signed.status).toBe(200);
    expect(cookieOf(signed)).not.toBe(fixed);
    expect((await callWith(self, fixed, "/people/me")).status).toBe(401);
    // Nor is the one that the browser had before continued.
    const former = cookieOf(await signIn(self, owner.authenticator));
    const again = (await callWith(self, former, "/sign-in/passkey/options", { method: "POST" })).body.options;
    await callWith(self, former, "/sign-in/passkey/verify", post(await owner.authenticator.get(again)));
    expect((await callWith(self, former, "/people/me")).status).toBe(401);
  });

  it("is refused beside another one, and in development is not that of another local port", async () => {
    const two = {
      headers: { ...OWN_PAGE, cookie: `__Host-agentauth=${owner.cookie}; __Host-agentauth=${admin.cookie}` },
    };
    expect((await self.call("/people/me", two)).body.code).toBe("several_credentials");
    const local = world({ ENVIRONMENT: "development", ISSUER: "http://localhost:8787" });
    const at = (name: string) =>
      local.call("http://localhost:8787/people/me", { headers: { cookie: `${name}=${owner.cookie}` } });
    expect((await at("agentauth-8787")).status).toBe(200);
    for (const name of ["agentauth-8788", "agentauth", "__Host-agentauth"]) expect((await at(name)).status).toBe(401);
  });
});

describe("a sign-in link", () => {
  const use = (cookie: string, json: object) => callWith(self, cookie, "/sign-in/link", post(json));

  it("says whose it is and who made it, and is used once", async () => {
    const token = tokenOf(await linkFor(owner));
    const read = await use("", { token });
    expect(read.body).toMatchObject({ email: "changed@example.com", used: false, created_by: { id: admin.id } });
    expect(read.headers.get("set-cookie")).toBeNull();
    const json = { token, person_id: owner.id };
    const used = await Promise.all([use("", json), use("", json)]);
    expect(used.map(({ status }) => status).sort()).toEqual([200, 404]);
    expect((await use("", { token })).body.code).toBe("link_not_valid");
  });

  it("is not used for somebody else, nor where somebody else is signed in", async () => {
    const token = tokenOf(await linkFor(owner));
    expect((await use("", { token, person_id: admin.id })).body.code).toBe("link_not_valid");
    for (const json of [{ token }, { token, person_id: owner.id }]) {
      const refused = await use(admin.cookie, json);
      expect([refused.status, refused.body.code]).toEqual([409, "signed_in_already"]);
    }
    expect((await use("", { token, person_id: owner.id })).status).toBe(200);
  });

  it("ends after 15 minutes, and with the next one", async () => {
    const [first, second] = [await linkFor(owner), await linkFor(owner)].map(tokenOf);
    expect((await use("", { token: first })).status).toBe(404);
    await run("UPDATE sign_in_links SET expires_at = ?1 WHERE used_at IS NULL", Date.now() - 1);
    expect((await use("", { token: second })).status).toBe(404);
  });

  it("ends with the next one, also the session of one that was used", async () => {
    const stolen = await openLink(self, await linkFor(auditor));
    const next = await linkFor(auditor);
    const options = `/people/${auditor.id}/passkeys/options`;
    expect((await callWith(self, stolen.cookie, options, { method: "POST" })).status).toBe(401);
    const opened = await openLink(self, next);
    expect((await callWith(self, opened.cookie, options, { method: "POST" })).status).toBe(200);
  });

  few(1).each([
    ["is suspended", { status: "suspended" }, { status: "active" }],
    ["is an administrator no more", { role: "owner" }, { role: "admin" }],
  ] as const)("is good for nothing, used or not, once who has made it %s", async (_, change, undone) => {
    const made = { second: await invite(self, admin, "admin"), used: "", unused: "" };
    for (const [name, person] of [
      ["used", owner],
      ["unused", auditor],
    ] as const) {
      const { body } = await made.second.confirmed(`/people/${person.id}/sign-in-links`, { method: "POST" });
      made[name] = body.link.url;
    }
    const opened = await openLink(self, made.used);
    const enrols = () =>
      callWith(self, opened.cookie, `/people/${opened.personId}/passkeys/options`, { method: "POST" });
    const reads = () => use("", { token: tokenOf(made.unused) });
    expect([(await enrols()).status, (await reads()).status]).toEqual([200, 200]);
    expect((await admin.confirmed(`/people/${made.second.id}`, patch(change))).status).toBe(200);
    expect([(await enrols()).status, (await reads()).status]).toEqual([401, 404]);
    expect((await use("", { token: tokenOf(made.unused), person_id: auditor.id })).body.code).toBe("link_not_valid");
    await admin.confirmed(`/people/${made.second.id}`, patch(undone));
    expect((await admin.confirmed(`/people/${made.second.id}`, { method: "DELETE" })).status).toBe(200);
    expect([(await enrols()).status, (await reads()).status]).toEqual([401, 404]);
  });

  it("opens a session that only enrols a passkey, once", async () => {
    const opened = await openLink(self, await linkFor(owner));
    for (const path of ["/people/me", `/people/${owner.id}`, "/agents", `/people/${owner.id}/sessions`]) {
      expect((await callWith(self, opened.cookie, path)).body.code).toBe("role_required");
    }
    const elsewhere = await callWith(self, opened.cookie, `/people/${admin.id}/passkeys/options`, { method: "POST" });
    expect(elsewhere.body.code).toBe("role_required");
    expect((await enrol(self, opened, new Authenticator())).status).toBe(201);
    expect(
      (await callWith(self, opened.cookie, `/people/${owner.id}/passkeys/options`, { method: "POST" })).status,
    ).toBe(401);
  });
});

describe("an agent that administers", () => {
  it("loosens nothing and makes no administrators, and goes on with the rest", SLOW, async () => {
    const keeping = world({ BOOTSTRAP: "keep" });
    const agent = await keeping.admin();
    const { id } = await keeping.agent();
    const as = (method: string, path: string, json: object) => keeping.call(path, { method, json, token: agent.token });
    const change = (json: object) => as("PATCH", `/agents/${id}`, json);
    const requires = async (answer: ReturnType<typeof as>) => {
      const { status, body } = await answer;
      expect([status, body.code]).toEqual([403, "person_required"]);
    };

    expect((await change({ allowed_ips: ["10.0.0.0/8", "192.0.2.1"] })).status).toBe(200);
    await requires(change({ allowed_ips: null }));
    await requires(change({ allowed_ips: ["10.0.0.0/8", "192.0.2.2"] }));
    expect((await change({ allowed_ips: ["10.0.0.0/8"] })).status).toBe(200);
    await requires(change({ grantable: ["lab:things:read"] }));
    expect((await change({ grantable: [] })).status).toBe(200);
    await requires(change({ owner_person_id: owner.id }));
    await requires(as("PUT", `/agents/${id}/permissions`, { permissions: ["*:*:*"] }));
    const json = { name: "another", owner_email: "owner@example.com", permissions: ["*:*:*"] };
    await requires(as("POST", "/agents/register", json));

    const grants = (...list: object[]) => as("PUT", `/agents/${id}/grants`, { grants: list });
    const issues = { permission: "github:issues:read", where: { "path.owner": "octo" } };
    expect((await grants(issues)).status).toBe(200);
    await requires(grants({ permission: "github:issues:read" }));
    await requires(grants(issues, { permission: "github:issues:read" }));
    await requires(grants(issues, { permission: "github:*:*" }));
    await requires(grants(issues, { permission: "github:issues:read", where: { "path.owner": "other" } }));
    await requires(grants(issues, { permission: "*:*:*" }));
    // Leaving it out would let the next request grant it without limits.
    await requires(grants());
    expect((await grants(issues, { permission: "lab:things:read" })).status).toBe(200);
    const byPerson = (list: object[]) =>
      admin.confirmed(`/agents/${id}/grants`, { method: "PUT", json: { grants: list } });
    expect((await byPerson([{ permission: "github:issues:read" }])).status).toBe(200);
    // What was given until a time is not given for longer once that has come.
    const until = (ms: number) => ({
      permission: "lab:notes:read",
      expires_at: new Date(Date.now() + ms).toISOString(),
    });
    expect((await byPerson([until(60_000)])).status).toBe(200);
    await requires(grants(until(120_000)));
    await run(
      "UPDATE agents SET grants = json_set(grants, '$[0].expires_at', 1) WHERE id = ?1 AND grants LIKE '%lab:notes:read%'",
      id,
    );
    await requires(grants({ permission: "lab:notes:read" }));
    await requires(grants({ permission: "lab:things:read" }, until(60_000)));
    expect((await grants({ permission: "lab:things:read" })).status).toBe(200);
    await requires(grants({ permission: "lab:notes:read" }));
    expect((await byPerson([{ permission: "lab:notes:read" }])).status).toBe(200);
    expect(
      (await admin.call(`/agents/${id}/grants`, { method: "PUT", json: { grants: [{ permission: "*:*:*" }] } })).body
        .code,
    ).toBe("reauthentication_required");
    expect((await as("PUT", `/agents/${id}/permissions`, { permissions: ["lab:*:*"] })).status).toBe(200);
    expect((await as("PUT", `/agents/${id}/tier`, { tier: "pro" })).status).toBe(200);
    expect((await as("PUT", `/agents/${id}/status`, { status: "suspended" })).status).toBe(200);
    // It keeps what it has: setting the same again grants nothing.
    expect((await as("PUT", `/agents/${agent.id}/permissions`, { permissions: ["*:*:*"] })).status).toBe(200);
  });
});

describe("an administrator", () => {
  it("does what an administrator may, and is named for it", async () => {
    const json = { name: "made by a person", owner_email: "owner@example.com", permissions: ["lab:things:read"] };
    const registered = await admin.call("/agents/register", post(json));
    const id = registered.body.agent.agent_id;
    expect(registered.body.agent.status).toBe("active");
    const by = { type: "person", id: admin.id, name: "First" };
    expect((await admin.call(`/agents/${id}`)).body.details).toMatchObject({ created_by: by, approved_by: by });
    const put = (what: string, body: object) => admin.call(`/agents/${id}/${what}`, { method: "PUT", json: body });
    expect((await put("tier", { tier: "pro" })).status).toBe(200);
    expect((await put("permissions", { permissions: ["lab:*:*"] })).status).toBe(200);
    const key = await admin.call(`/agents/${id}/keys`, post({}));
    expect(key.body.key.created_by).toEqual(by);
    const { results } = await self.env.DB.prepare("SELECT data FROM events WHERE agent_id = ?1 AND event = ?2")
      .bind(id, "agent.tier_updated")
      .all<{ data: string }>();
    expect(JSON.parse(results[0]!.data).updated_by).toBe(admin.id);
    expect((await put("status", { status: "revoked" })).status).toBe(200);
    expect((await admin.call(`/agents/${id}`, { method: "DELETE" })).status).toBe(200);
  });

  it("confirms granting *:*:* with a passkey", async () => {
    const { id } = await self.agent();
    const grant = { method: "PUT", json: { permissions: ["*:*:*"] } };
    const asked = await admin.call(`/agents/${id}/permissions`, grant);
    expect([asked.status, asked.body.code]).toEqual([403, "reauthentication_required"]);
    expect((await admin.confirmed(`/agents/${id}/permissions`, grant)).body.agent.permissions).toEqual(["*:*:*"]);
    const json = { name: "an admin", owner_email: "owner@example.com", permissions: ["*:*:*"] };
    expect((await admin.call("/agents/register", post(json))).body.code).toBe("reauthentication_required");
    expect((await admin.confirmed("/agents/register", post(json))).status).toBe(201);
  });

  it("confirms one act with one confirmation, also where that is answered again for an Idempotency-Key", async () => {
    const json = { name: "of one confirmation", owner_email: "owner@example.com", permissions: ["*:*:*"] };
    const register = (headers: Record<string, string>) => admin.call("/agents/register", { ...post(json), headers });
    const key = { "idempotency-key": "confirmed" };
    const confirmation = async () => {
      const asked = await register(key);
      expect([asked.status, asked.body.code]).toEqual([403, "reauthentication_required"]);
      return { "agentauth-assertion": await admin.authenticator.confirm(asked.body.assertion) };
    };
    const first = await register({ ...key, ...(await confirmation()) });
    expect(first.status).toBe(201);
    const second = await confirmation();
    const again = await register({ ...key, ...second });
    expect([again.status, again.headers.get("idempotent-replayed")]).toEqual([201, "true"]);
    expect(again.body).toEqual(first.body);
    for (const headers of [second, { ...second, "idempotency-key": "another" }]) {
      expect((await register(headers)).body.code).toBe("assertion_refused");
    }
  });

  it("registers once with an Idempotency-Key, which is theirs alone", async () => {
    const headers = { "idempotency-key": "one" };
    const json = { name: "made once", owner_email: "owner@example.com", permissions: ["lab:things:read"] };
    const [first, again] = [
      await admin.call("/agents/register", { ...post(json), headers }),
      await admin.call("/agents/register", { ...post(json), headers }),
    ];
    expect(again.body).toEqual(first.body);
    expect(again.headers.get("idempotent-replayed")).toBe("true");
  });
});

describe("an owner", () => {
  it("does what their agent may do to itself, and suspends it", async () => {
    const { id } = await self.agent();
    const mine = (method: string, path = "", json?: object) => owner.call(`/agents/${id}${path}`, { method, json });
    expect((await mine("GET")).body.code).toBe("role_required");
    expect((await admin.call(`/agents/${id}`, patch({ owner_person_id: "per_0" }))).status).toBe(404);
    expect((await admin.call(`/agents/${id}`, patch({ owner_person_id: owner.id }))).status).toBe(200);
    expect((await mine("GET")).body.details.owner_person_id).toBe(owner.id);
    expect((await mine("PATCH", "", { description: "mine" })).status).toBe(200);
    expect((await mine("PATCH", "", { allowed_ips: ["10.0.0.0/8"] })).body.code).toBe("insufficient_permissions");
    expect((await mine("PATCH", "", { owner_person_id: null })).body.code).toBe("insufficient_permissions");
    expect((await mine("POST", "/keys", { label: "mine" })).status).toBe(201);
    expect((await mine("PUT", "/tier", { tier: "enterprise" })).body.code).toBe("role_required");
    expect((await mine("PUT", "/status", { status: "revoked" })).body.code).toBe("role_required");
    expect((await mine("PUT", "/status", { status: "suspended" })).body.agent.status).toBe("suspended");
    expect((await mine("PUT", "/status", { status: "active" })).body.code).toBe("role_required");
    expect((await mine("PUT", "/permissions", { permissions: [] })).body.code).toBe("role_required");
    // Who does not own it any more writes nothing.
    await run("UPDATE agents SET owner_person_id = NULL WHERE id = ?1", id);
    expect((await mine("PATCH", "", { description: "mine" })).body.code).toBe("role_required");
    expect((await mine("PUT", "/status", { status: "suspended" })).body.code).toBe("role_required");
  });

  it("makes no key of an agent that administers the deployment, although it is theirs", async () => {
    const { id } = await world({ BOOTSTRAP: "keep" }).admin();
    expect((await admin.call(`/agents/${id}`, patch({ owner_person_id: owner.id }))).status).toBe(200);
    for (const path of ["keys", "rotate-key"]) {
      const { status, body } = await owner.call(`/agents/${id}/${path}`, post({}));
      expect([path, status, body.code, body.credentials]).toEqual([path, 403, "role_required", undefined]);
    }
    expect((await admin.call(`/agents/${id}/keys`, post({}))).status).toBe(201);
  });

  it("leaves their agents to nobody when they are deleted", SLOW, async () => {
    const other = await invite(self, admin, "owner");
    const { id } = await self.agent();
    await admin.call(`/agents/${id}`, patch({ owner_person_id: other.id }));
    await admin.confirmed(`/people/${other.id}`, { method: "DELETE" });
    expect((await admin.call(`/agents/${id}`)).body.details.owner_person_id).toBeNull();
  });
});
