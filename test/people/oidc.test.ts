import { beforeAll, describe, expect, inject, it } from "vitest";
import { Authenticator } from "../support/authenticator.ts";
import { firstAdministrator, invite, openLink, signIn, type SignedInPerson } from "../support/people.ts";
import { refusedSignIns } from "../support/refused-sign-ins.ts";
import { world, type Answer, type World } from "../support/world.ts";
import type { OidcServers } from "../support/oidc-server.ts";
import { SLOW, few } from "../support/extents.ts";

/** The provider is of this machine, so the deployment that leads there is in development. It has the same database. */
const LOCAL = "http://localhost:8787";
const COOKIE = "agentauth-8787";
const OWN_PAGE = { origin: LOCAL, "x-agentauth-console": "1" };
const TWIST = { origin: LOCAL, rpId: "localhost" };

const people = world();
let servers: OidcServers;
let self: World;
let governed: World;
let admin: SignedInPerson;

const deployment = (overrides: object = {}): World =>
  world({
    ENVIRONMENT: "development",
    ISSUER: LOCAL,
    OIDC_ISSUER: servers.issuer,
    OIDC_CLIENT_ID: servers.clientId,
    OIDC_CLIENT_SECRET: servers.clientSecret,
    ...overrides,
  });

const run = (sql: string, ...values: unknown[]) =>
  self.env.DB.prepare(sql)
    .bind(...values)
    .run();
const rows = async (sql: string, ...values: unknown[]) =>
  (
    await self.env.DB.prepare(sql)
      .bind(...values)
      .all<Record<string, unknown>>()
  ).results;

beforeAll(async () => {
  servers = (await (await fetch(`${inject("upstream")}/oidc`)).json()) as OidcServers;
  self = deployment();
  governed = deployment({ OIDC_ROLE_CLAIM: "roles" });
  admin = await firstAdministrator(people);
});

/** The cookies of a browser, by name. */
class Jar {
  readonly cookies = new Map<string, string>();

  get header(): string {
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  }

  take(headers: Headers): void {
    for (const cookie of headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      if (value === "" || /Max-Age=0/i.test(cookie)) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
  }
}

const whoCookie = (subject: string, claims: object) =>
  btoa(JSON.stringify({ subject, claims })).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/** A browser: what it keeps of the deployment, and of each provider. */
class Visitor {
  readonly own = new Jar();
  readonly elsewhere = new Map<string, Jar>();
  readonly at: World;

  constructor(at: World, session?: string) {
    this.at = at;
    if (session !== undefined) this.own.cookies.set(COOKIE, session);
  }

  /** A request of a page of the deployment. */
  async call(path: string, init: Parameters<World["call"]>[1] = {}): Promise<Answer> {
    const headers = { ...OWN_PAGE, cookie: this.own.header, ...(init.headers as Record<string, string> | undefined) };
    const answer = await this.at.call(LOCAL + path, { ...init, headers });
    this.own.take(answer.headers);
    return answer;
  }

  /** A request that another site has made the browser send: cookies that are Strict stay behind. */
  async comeBack(url: string): Promise<Response> {
    const lax = [...this.own.cookies].filter(([name]) => name !== COOKIE).map(([name, value]) => `${name}=${value}`);
    const response = await this.at.fetch(url, { headers: { cookie: lax.join("; ") }, redirect: "manual" });
    this.own.take(response.headers);
    return response;
  }

  /** Begins to sign in. Returns the provider's URL, or the page that says why not. */
  async begin(query = ""): Promise<URL> {
    const response = await this.at.fetch(`${LOCAL}/sign-in/oidc${query}`, {
      headers: { cookie: this.own.header },
      redirect: "manual",
    });
    this.own.take(response.headers);
    return new URL(response.headers.get("location") ?? "", LOCAL);
  }

  /** Signs in at the provider as somebody; as nobody, it is cancelled. Returns where the provider leads back to. */
  async atProvider(url: URL, subject?: string, claims: object = {}): Promise<string> {
    const jar = this.elsewhere.get(url.origin) ?? new Jar();
    this.elsewhere.set(url.origin, jar);
    if (subject === undefined) jar.cookies.delete("who");
    else jar.cookies.set("who", whoCookie(subject, claims));
    let next = url.href;
    for (let step = 0; step < 10; step++) {
      const response = await fetch(next, { headers: { cookie: jar.header }, redirect: "manual" });
      jar.take(response.headers);
      const location = response.headers.get("location");
      if (location === null) throw new Error(`${response.status} ${next} ${await response.text()}`);
      next = new URL(location, next).href;
      if (next.startsWith(LOCAL)) return next;
    }
    throw new Error("the provider leads nowhere");
  }

  /** The whole way. Returns where the browser ends. */
  async signIn(subject?: string, claims: object = {}, query = ""): Promise<string | null> {
    const back = await this.atProvider(await this.begin(query), subject, claims);
    return (await this.comeBack(back)).headers.get("location");
  }
}

/** Somebody who is invited, with the session of their link. */
async function invited(role: string): Promise<{ id: string; email: string; visitor: Visitor }> {
  const json = { email: `oidc-${crypto.randomUUID()}@example.com`, role };
  const { body } = await admin.confirmed("/people", { method: "POST", json });
  const { cookie } = await openLink(people, body.link.url);
  return { ...body.person, visitor: new Visitor(self, cookie) };
}

/** Binds a login in the session of a visitor. Returns where the browser ends. */
async function bind(visitor: Visitor, id: string, subject: string, claims: object = {}): Promise<string | null> {
  const { status, body } = await visitor.call(`/people/${id}/logins`, { method: "POST" });
  expect([status, body.code]).toEqual([200, undefined]);
  const back = await visitor.atProvider(new URL(body.url), subject, claims);
  return (await visitor.comeBack(back)).headers.get("location");
}

/** Somebody who was invited and has bound a login. */
async function member(role: string, subject: string, at = self, claims: object = {}) {
  const one = await invited(role);
  const visitor = new Visitor(at, one.visitor.own.cookies.get(COOKIE));
  expect(await bind(visitor, one.id, subject, claims)).toBe("/account");
  return { ...one, visitor };
}

describe("a login at the provider", () => {
  it("is bound at an invitation, and signs in from then on", async () => {
    const one = await invited("owner");
    expect(await bind(one.visitor, one.id, "alice", { email: "alice@company.example" })).toBe("/account");
    expect((await one.visitor.call("/people/me")).body).toMatchObject({
      person: { id: one.id, role: "owner" },
      session: { method: "oidc" },
      notices: [{ kind: "login.bound" }, { kind: "link.used" }, { kind: "person.created" }],
    });
    const { logins } = (await one.visitor.call(`/people/${one.id}/logins`)).body;
    expect(logins).toMatchObject([{ issuer: servers.issuer, label: "alice@company.example" }]);
    // The link's session has ended with it.
    expect(await rows("SELECT method FROM person_sessions WHERE person_id = ?1", one.id)).toEqual([{ method: "oidc" }]);

    const elsewhere = new Visitor(self);
    expect(await elsewhere.signIn("alice")).toBe("/account");
    expect((await elsewhere.call("/people/me")).body.person).toMatchObject({ id: one.id, role: "owner" });
    const actions = (await self.records("")).map(({ action, actor }) => [action, actor?.id]);
    expect(actions).toEqual(
      expect.arrayContaining([
        ["login.created", one.id],
        ["person.signed_in", one.id],
      ]),
    );
  });

  it("asks for PKCE, a nonce and a state of its own, kept in a cookie that other sites are sent back with", async () => {
    const visitor = new Visitor(self);
    const response = await self.fetch(`${LOCAL}/sign-in/oidc`, { redirect: "manual" });
    const url = new URL(response.headers.get("location")!);
    expect(url.origin).toBe(servers.issuer);
    const parameters = Object.fromEntries(url.searchParams);
    expect(parameters).toMatchObject({
      response_type: "code",
      client_id: servers.clientId,
      redirect_uri: `${LOCAL}/sign-in/oidc/callback`,
      code_challenge_method: "S256",
    });
    expect(response.headers.get("set-cookie")).toMatch(
      /^agentauth-login-8787=[\w.-]+; Path=\/; HttpOnly; SameSite=Lax; Max-Age=600$/,
    );
    const other = await visitor.begin();
    for (const name of ["state", "nonce", "code_challenge"]) {
      expect(other.searchParams.get(name)).not.toBe(parameters[name]);
      expect(parameters[name]!.length).toBeGreaterThan(40);
    }
    // Its page leads to the deployment's own origin first, where the cookie is.
    const address = await self.fetch("http://127.0.0.1:8787/sign-in/oidc?enrol=true&next=//evil.example", {
      redirect: "manual",
    });
    expect(address.headers.get("location")).toBe(`${LOCAL}/sign-in/oidc?enrol=true`);
  });

  it("signs nobody in who has not bound it, whatever address the provider asserts", async () => {
    const one = await member("admin", "bob", self, { email: "bob@example.com" });
    for (const email of ["bob@example.com", one.email, admin.email, one.email.toUpperCase()]) {
      const visitor = new Visitor(self);
      const claims = { email, email_verified: true };
      expect(await visitor.signIn(`another-${crypto.randomUUID()}`, claims)).toBe("/sign-in#fault=sign_in_refused");
      expect(visitor.own.cookies.size).toBe(0);
    }
    const [{ count }] = (await rows("SELECT count(*) AS count FROM person_logins WHERE person_id = ?1", one.id)) as [
      { count: number },
    ];
    expect(count).toBe(1);
  });

  it("is not that of another issuer with the same subject and address", SLOW, async () => {
    const one = await member("admin", "carol", self, { email: "carol@example.com" });
    const elsewhere = deployment({ OIDC_ISSUER: servers.other });
    const visitor = new Visitor(elsewhere);
    expect(await visitor.signIn("carol", { email: one.email })).toBe("/sign-in#fault=sign_in_refused");
    // Nor is an answer of the other provider one to a login at this (mix-up), nor one that was begun before the provider was changed.
    const begun = new Visitor(self);
    const here = await begun.begin();
    const there = new URL(here.href.replace(servers.issuer, servers.other));
    const back = await begun.atProvider(there, "carol");
    expect(new URL(back).searchParams.get("iss")).toBe(servers.other);
    expect((await begun.comeBack(back)).headers.get("location")).toBe("/sign-in#fault=sign_in_refused");
    const changed = new Visitor(self);
    const answer = await changed.atProvider(await changed.begin(), "carol");
    const moved = new Visitor(elsewhere);
    moved.own.cookies.set("agentauth-login-8787", changed.own.cookies.get("agentauth-login-8787")!);
    expect((await moved.comeBack(answer)).headers.get("location")).toBe("/sign-in#fault=sign_in_refused");
  });

  it("is answered in the browser in which it was begun, once, and with nothing changed", SLOW, async () => {
    await member("owner", "dave");
    const victim = new Visitor(self);
    const attacker = new Visitor(self);
    const answer = await attacker.atProvider(await attacker.begin(), "dave");
    // Somebody is led to the answer to a login that another browser has begun: before and after beginning one of their own.
    expect((await victim.comeBack(answer)).headers.get("location")).toBe("/sign-in#fault=login_expired");
    await victim.begin();
    expect((await victim.comeBack(answer)).headers.get("location")).toBe("/sign-in#fault=sign_in_refused");
    expect(victim.own.cookies.size).toBe(0);

    const cookie = attacker.own.cookies.get("agentauth-login-8787")!;
    const [payload, mac] = cookie.split(".") as [string, string];
    const forged = (value: string) => self.fetch(answer, { headers: { cookie: `agentauth-login-8787=${value}` } });
    const json = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
    const raised = btoa(JSON.stringify({ ...json, purpose: { kind: "enrol" } })).replaceAll("=", "");
    for (const value of [
      payload,
      `${payload}.`,
      `${raised}.${mac}`,
      `${payload}.${mac}.`,
      `.${mac}`,
      "x".repeat(5000),
    ]) {
      expect((await forged(value)).headers.get("location")).toBe("/sign-in#fault=login_expired");
    }
    // Duplicates of a parameter, a missing issuer and another one.
    for (const twist of [
      (url: URL) => url.searchParams.append("state", "x"),
      (url: URL) => url.searchParams.append("iss", servers.other),
      (url: URL) => url.searchParams.delete("iss"),
      (url: URL) => url.searchParams.delete("state"),
      (url: URL) => url.searchParams.set("iss", `${servers.issuer}/`),
    ]) {
      const url = new URL(answer);
      twist(url);
      expect([
        url.search,
        (await self.fetch(url.href, { headers: { cookie: attacker.own.header } })).headers.get("location"),
      ]).toEqual([url.search, "/sign-in#fault=sign_in_refused"]);
    }
    const replayed = new Visitor(self);
    replayed.own.cookies.set("agentauth-login-8787", cookie);
    expect((await attacker.comeBack(answer)).headers.get("location")).toBe("/account");
    expect((await replayed.comeBack(answer)).headers.get("location")).toBe("/sign-in#fault=sign_in_refused");
  });

  it("leads nowhere but to the pages of this deployment", SLOW, async () => {
    await member("owner", "erin");
    const visitor = new Visitor(self);
    for (const query of ["?next=https://evil.example", "?redirect_uri=https://evil.example", "?enrol=//evil.example"]) {
      const url = await visitor.begin(query);
      expect(url.searchParams.get("redirect_uri")).toBe(`${LOCAL}/sign-in/oidc/callback`);
      const back = await visitor.atProvider(url, "erin");
      const answered = await visitor.comeBack(`${back}&next=https://evil.example&redirect_uri=//evil.example`);
      expect(answered.headers.get("location")).toBe("/account");
    }
    expect(await visitor.signIn()).toBe("/sign-in#fault=login_cancelled");
  });

  it("ends after ten minutes", SLOW, async () => {
    await member("owner", "frank");
    const visitor = new Visitor(self);
    const back = await visitor.atProvider(await visitor.begin(), "frank");
    const name = "agentauth-login-8787";
    const { sealFlow, openFlow } = await import("../../src/people/login-flow.ts");
    const { loadConfig } = await import("../../src/config/config.ts");
    const { peppers } = loadConfig(self.env);
    const flow = (await openFlow(visitor.own.cookies.get(name)!, Date.now(), peppers))!;
    visitor.own.cookies.set(name, await sealFlow(flow, Date.now() - 600_000, peppers));
    expect((await visitor.comeBack(back)).headers.get("location")).toBe("/sign-in#fault=login_expired");
  });

  it("ends the session that the browser had, and never continues it", SLOW, async () => {
    const one = await member("owner", "grace");
    const former = one.visitor.own.cookies.get(COOKIE)!;
    expect(await one.visitor.signIn("grace")).toBe("/account");
    expect(one.visitor.own.cookies.get(COOKIE)).not.toBe(former);
    expect((await new Visitor(self, former).call("/people/me")).status).toBe(401);
  });

  it("is refused to somebody who is suspended", SLOW, async () => {
    const one = await member("owner", "heidi");
    await admin.confirmed(`/people/${one.id}`, { method: "PATCH", json: { status: "suspended" } });
    const own = deployment();
    expect(await new Visitor(own).signIn("heidi")).toBe("/sign-in#fault=sign_in_refused");
    expect((await refusedSignIns(own))[0]).toMatchObject({
      actor: { type: "person", id: one.id },
      outcome: "denied",
      count: 1,
      path: "/sign-in/oidc/callback",
      message: "login at the provider: suspended",
    });
  });
});

describe("binding a login", () => {
  it("is confirmed with a passkey by somebody who is signed in, and is of one person only", SLOW, async () => {
    const one = await invite(people, admin, "owner");
    const visitor = new Visitor(self, one.cookie);
    const path = `/people/${one.id}/logins`;
    const asked = await visitor.call(path, { method: "POST" });
    expect([asked.status, asked.body.code]).toEqual([403, "reauthentication_required"]);
    const header = await one.authenticator.confirm(asked.body.assertion, TWIST);
    const begun = await visitor.call(path, { method: "POST", headers: { "agentauth-assertion": header } });
    expect(begun.status).toBe(200);
    // The provider asks for a proof: whose session it has decides nothing.
    expect(new URL(begun.body.url).searchParams.get("prompt")).toBe("login");
    const back = await visitor.atProvider(new URL(begun.body.url), "ivan");
    expect((await visitor.comeBack(back)).headers.get("location")).toBe("/account");

    const second = await invited("owner");
    expect(await bind(second.visitor, second.id, "ivan")).toBe("/sign-in#fault=login_not_bound");
    expect((await rows("SELECT person_id FROM person_logins WHERE subject = 'ivan'"))[0]).toEqual({
      person_id: one.id,
    });
    // Bound again by its own person, it signs in.
    const again = await visitor.call(path, { method: "POST" });
    const url = new URL(again.body.url ?? "about:blank");
    expect(again.status).toBe(200);
    expect((await visitor.comeBack(await visitor.atProvider(url, "ivan"))).headers.get("location")).toBe("/account");
  });

  it("is done by nobody else, not for somebody else, and not by a page of another origin", async () => {
    const one = await invited("owner");
    const agent = await people.admin().catch(() => undefined);
    const path = `/people/${one.id}/logins`;
    expect((await people.call(path, { method: "POST", token: agent?.token ?? "x" })).status).toBeGreaterThanOrEqual(
      401,
    );
    expect((await new Visitor(self, admin.cookie).call(path, { method: "POST" })).body.code).toBe("role_required");
    const cross = await one.visitor.call(path, { method: "POST", headers: { origin: "http://localhost:9999" } });
    expect(cross.body.code).toBe("cross_origin");
  });

  it("binds nothing once its session has ended, or its person is suspended", SLOW, async () => {
    for (const end of [
      "DELETE FROM person_sessions WHERE person_id = ?1",
      "UPDATE people SET status = 'suspended' WHERE id = ?1",
      "UPDATE people SET role = 'admin' WHERE id = ?1",
    ]) {
      const one = await invited("owner");
      const { body } = await one.visitor.call(`/people/${one.id}/logins`, { method: "POST" });
      const subject = `late-${crypto.randomUUID()}`;
      const back = await one.visitor.atProvider(new URL(body.url), subject);
      await run(end, one.id);
      expect((await one.visitor.comeBack(back)).headers.get("location")).toBe("/sign-in#fault=login_expired");
      expect(await rows("SELECT * FROM person_logins WHERE subject = ?1", subject)).toEqual([]);
    }
  });

  it(
    "is undone by its person and by an administrator, with the sessions that it opened, but not the last way to sign in",
    SLOW,
    async () => {
      const one = await member("owner", "judy");
      const [login] = (await one.visitor.call(`/people/${one.id}/logins`)).body.logins;
      const path = `/people/${one.id}/logins/${login.id}`;
      expect((await admin.confirmed(path, { method: "DELETE" })).body.code).toBe("last_passkey");
      await run(
        "UPDATE passkeys SET person_id = ?1 WHERE person_id = ?2",
        one.id,
        (await invite(people, admin, "owner")).id,
      );
      expect((await one.visitor.call(path, { method: "DELETE" })).body.code).toBe("reauthentication_required");
      expect((await admin.confirmed(path, { method: "DELETE" })).status).toBe(200);
      expect((await one.visitor.call("/people/me")).status).toBe(401);
      expect((await admin.confirmed(path, { method: "DELETE" })).status).toBe(404);
      expect(await new Visitor(self).signIn("judy")).toBe("/sign-in#fault=sign_in_refused");
    },
  );
});

describe("enrolling a passkey", () => {
  const enrol = async (visitor: Visitor, id: string): Promise<Answer> => {
    const { body } = await visitor.call(`/people/${id}/passkeys/options`, { method: "POST" });
    const json = { label: "a passkey", ...(await new Authenticator().create(body.options, TWIST)) };
    return visitor.call(`/people/${id}/passkeys`, { method: "POST", json });
  };

  it("needs a login that asked the provider for a proof, and not any login", SLOW, async () => {
    const one = await member("owner", "kim");
    const visitor = new Visitor(self);
    expect(await visitor.signIn("kim")).toBe("/account");
    expect((await enrol(visitor, one.id)).body.code).toBe("reauthentication_required");
    const url = await visitor.begin("?enrol=true");
    expect([url.searchParams.get("prompt"), url.searchParams.get("max_age")]).toEqual(["login", "300"]);
    const back = await visitor.atProvider(url, "kim");
    expect((await visitor.comeBack(back)).headers.get("location")).toBe("/account#enrol");
    expect((await enrol(visitor, one.id)).status).toBe(201);
    // Five minutes later it needs another one, or the passkey.
    await run("UPDATE person_sessions SET enrol_until = enrol_until - 300000 WHERE person_id = ?1", one.id);
    expect((await enrol(visitor, one.id)).body.code).toBe("reauthentication_required");
  });
});

describe("a role that the provider's claim gives", () => {
  it("is the person's from the next login on: raised, lowered, and withdrawn with every session", SLOW, async () => {
    const one = await member("owner", "lena", governed, { roles: "auditor" });
    expect((await one.visitor.call("/people/me")).body.person.role).toBe("auditor");
    const visitor = new Visitor(governed);
    for (const [roles, role] of [
      [["staff", "admin"], "admin"],
      [["owner", "auditor"], "owner"],
      ["auditor", "auditor"],
    ] as const) {
      expect(await visitor.signIn("lena", { roles })).toBe("/account");
      expect((await visitor.call("/people/me")).body.person.role).toBe(role);
      // The role of the other sessions too, with their next request.
      expect((await one.visitor.call("/people/me")).body.person.role).toBe(role);
    }
    const updated = (await governed.records("")).find(({ action }) => action === "person.updated");
    expect(updated).toMatchObject({ actor: { id: one.id }, before: { role: "owner" }, after: { role: "auditor" } });
    for (const roles of [undefined, [], "Admin", ["administrator"], { admin: true }, true]) {
      expect(await new Visitor(governed).signIn("lena", { roles })).toBe("/sign-in#fault=sign_in_refused");
    }
    expect((await visitor.call("/people/me")).status).toBe(401);
    expect((await one.visitor.call("/people/me")).status).toBe(401);
    expect(await new Visitor(governed).signIn("lena", { roles: "owner" })).toBe("/account");
  });

  it("opens sessions of twelve hours, and is not gone around with a passkey", SLOW, async () => {
    const one = await invite(people, admin, "owner");
    await run(
      "INSERT INTO person_logins (id, issuer, subject, person_id, created_at) VALUES ('lgn_m', ?1, 'mallory', ?2, 0)",
      servers.issuer,
      one.id,
    );
    const visitor = new Visitor(governed);
    expect(await visitor.signIn("mallory", { roles: "owner" })).toBe("/account");
    const { session } = (await visitor.call("/people/me")).body;
    expect(Date.parse(session.expires_at) - Date.parse(session.created_at)).toBe(12 * 3_600_000);
    const production = world({
      OIDC_ISSUER: "https://login.example.com",
      OIDC_CLIENT_ID: "x",
      OIDC_CLIENT_SECRET: "x",
      OIDC_ROLE_CLAIM: "roles",
    });
    // Another provider's login does not count, and without a claim a passkey signs in as before.
    expect((await signIn(production, one.authenticator)).status).toBe(200);
    await run("UPDATE person_logins SET issuer = 'https://login.example.com' WHERE id = 'lgn_m'");
    expect((await signIn(production, one.authenticator)).body.code).toBe("sign_in_refused");
    expect((await signIn(people, one.authenticator)).status).toBe(200);
    // It confirms acts all the same.
    const asked = await callOf(visitor, one.id);
    expect(asked.body.code).toBe("reauthentication_required");
    const header = await one.authenticator.confirm(asked.body.assertion, TWIST);
    expect((await callOf(visitor, one.id, { "agentauth-assertion": header })).status).toBe(409);
  });

  it("is not kept by whoever deletes their own login, but for another administrator", SLOW, async () => {
    const one = await invite(people, admin, "owner");
    const add = (id: string, subject: string) =>
      run(
        "INSERT INTO person_logins (id, issuer, subject, person_id, created_at) VALUES (?1, ?2, ?3, ?4, 0)",
        id,
        servers.issuer,
        subject,
        one.id,
      );
    await add("lgn_r1", "rupert");
    await add("lgn_r2", "rupert at home");
    const remove = async (visitor: Visitor, id: string) => {
      const path = `/people/${one.id}/logins/${id}`;
      const asked = await visitor.call(path, { method: "DELETE" });
      const header = await one.authenticator.confirm(asked.body.assertion, TWIST);
      return visitor.call(path, { method: "DELETE", headers: { "agentauth-assertion": header } });
    };
    const visitor = new Visitor(governed);
    expect(await visitor.signIn("rupert", { roles: "owner" })).toBe("/account");
    expect((await remove(visitor, "lgn_r2")).status).toBe(200);
    const refused = await remove(visitor, "lgn_r1");
    expect([refused.status, refused.body.code]).toEqual([403, "role_required"]);
    expect(await rows("SELECT id FROM person_logins WHERE person_id = ?1", one.id)).toEqual([{ id: "lgn_r1" }]);
    // Where no claim gives the role, nothing is lost with it.
    const ungoverned = new Visitor(self, visitor.own.cookies.get(COOKIE));
    expect((await remove(ungoverned, "lgn_r1")).status).toBe(200);
    await add("lgn_r3", "rupert");
    expect((await admin.confirmed(`/people/${one.id}/logins/lgn_r3`, { method: "DELETE" })).status).toBe(200);
  });

  const callOf = async (visitor: Visitor, id: string, headers: Record<string, string> = {}) => {
    const { passkeys } = (await visitor.call(`/people/${id}/passkeys`)).body;
    await run("DELETE FROM person_logins WHERE person_id = ?1", id);
    return visitor.call(`/people/${id}/passkeys/${passkeys[0].id}`, { method: "DELETE", headers });
  };

  it("leaves the last administrator what they are, and lets them in with no less", async () => {
    const one = await member("admin", "niaj", governed, { roles: "admin" });
    await run("UPDATE people SET role = 'owner' WHERE id <> ?1 AND role = 'admin'", one.id);
    for (const roles of ["owner", undefined]) {
      expect(await new Visitor(governed).signIn("niaj", { roles })).toBe("/sign-in#fault=sign_in_refused");
      expect(await rows("SELECT role FROM people WHERE id = ?1", one.id)).toEqual([{ role: "admin" }]);
    }
    await run("UPDATE people SET role = 'admin' WHERE id = ?1", admin.id);
  });
});

describe("a provider that is not as it should be", () => {
  /** The answer of the odd provider: the code carries the nonce, and the subject. */
  async function answered(
    twist: string,
    { query = "", settings = {}, subject = "olivia" } = {},
  ): Promise<string | null> {
    const issuer = `${servers.odd}/${twist}`;
    const visitor = new Visitor(deployment({ OIDC_ISSUER: issuer, ...settings }));
    const url = await visitor.begin(query);
    if (url.origin === LOCAL) return url.pathname + url.hash;
    const code = `${url.searchParams.get("nonce")}~${subject}`;
    const back = new URLSearchParams({ code, state: url.searchParams.get("state")!, iss: issuer });
    return (await visitor.comeBack(`${LOCAL}/sign-in/oidc/callback?${back}`)).headers.get("location");
  }

  beforeAll(async () => {
    const { id } = await invite(people, admin, "owner");
    const twists = ["good", "post", "old-auth", "no-auth", "role-list", "role-case", "role-object", "role-part"];
    for (const twist of [...twists, "future-auth"]) {
      await run(
        "INSERT INTO person_logins (id, issuer, subject, person_id, created_at) VALUES (?1, ?2, 'olivia', ?3, 0)",
        `lgn_${twist}`,
        `${servers.odd}/${twist}`,
        id,
      );
    }
  });

  it("signs in as long as it is as it should be", async () => {
    expect(await answered("good")).toBe("/account");
    // It takes the secret in the form only.
    expect(await answered("post")).toBe("/account");
  });

  few(5).each([
    "nonce",
    "no-nonce",
    "aud",
    "azp",
    "iss",
    "expired",
    "no-sub",
    "long-sub",
    "odd-sub",
    "number-sub",
    "auth-time",
    "no-id-token",
    "forged",
    "unsigned",
    "alg-none",
    "spent",
    "no-keys",
  ])("signs nobody in by what proves nothing: %s", async (twist) => {
    expect(await answered(twist)).toBe("/sign-in#fault=sign_in_refused");
  });

  few(2).each(["gone", "html", "redirect", "reset", "huge", "misnamed", "slash", "no-token", "client", "token-500"])(
    "is said to be unavailable: %s",
    async (twist) => {
      expect(await answered(twist)).toBe("/sign-in#fault=provider_unavailable");
    },
  );

  it("is said to be unavailable if nobody listens there", async () => {
    const visitor = new Visitor(deployment({ OIDC_ISSUER: "http://127.0.0.1:1" }));
    expect((await visitor.begin()).hash).toBe("#fault=provider_unavailable");
    const one = await invited("owner");
    const bound = new Visitor(visitor.at, one.visitor.own.cookies.get(COOKIE));
    const { status, body } = await bound.call(`/people/${one.id}/logins`, { method: "POST" });
    expect([status, body.code]).toEqual([502, "provider_unavailable"]);
  });

  it("is not waited for longer than ten seconds", SLOW, async () => {
    expect(await answered("hang")).toBe("/sign-in#fault=provider_unavailable");
  });

  it("proves nothing for a passkey, and nothing lately, by a time that is old, missing or to come", SLOW, async () => {
    for (const twist of ["old-auth", "no-auth"]) {
      expect(await answered(twist, { query: "?enrol=true" })).toBe("/sign-in#fault=sign_in_refused");
      expect(await answered(twist)).toBe("/account");
    }
    expect(await answered("future-auth")).toBe("/account");
    const [session] = await rows("SELECT auth_time, created_at FROM person_sessions ORDER BY id DESC LIMIT 1");
    expect(Number(session!.auth_time)).toBeLessThanOrEqual(Number(session!.created_at));
  });

  it("gives a role by exactly its word", SLOW, async () => {
    const settings = { OIDC_ROLE_CLAIM: "roles" };
    expect(await answered("role-list", { settings })).toBe("/account");
    for (const twist of ["role-case", "role-object", "role-part", "good"]) {
      expect(await answered(twist, { settings })).toBe("/sign-in#fault=sign_in_refused");
    }
    expect(await answered("good", { settings: { OIDC_ROLE_CLAIM: "toString" } })).toBe(
      "/sign-in#fault=sign_in_refused",
    );
  });
});

describe("without a provider", () => {
  it("there is no login, and the page is told", async () => {
    expect((await people.call("/sign-in/methods")).body.methods).toEqual(["passkey"]);
    expect((await self.call(`${LOCAL}/sign-in/methods`)).body.methods).toEqual(["passkey", "oidc"]);
    for (const path of ["/sign-in/oidc", "/sign-in/oidc/callback?code=x&state=x"]) {
      expect((await people.call(path)).status).toBe(404);
    }
  });
});
