import { describe, expect, it } from "vitest";
import { toAssertion } from "../../src/access/assertion.ts";
import type { Caller } from "../../src/access/authenticate.ts";
import { originOf } from "../../src/access/origin.ts";
import { authorizePerson, type PersonCaller } from "../../src/access/person.ts";
import { hasRecentProof, requireProofForKey, requireRecentCommand } from "../../src/access/recent-proof.ts";
import {
  endedCookie,
  loginCookie,
  publicOrigin,
  readLoginCookie,
  readSessionCookie,
  requireOwnPage,
  sessionCookie,
} from "../../src/access/session-cookie.ts";
import type { Authority, Role } from "../../src/authority/authority.ts";
import type { Registrar } from "../../src/agents/register.ts";
import { toBase64Url } from "../../src/crypto/base64.ts";

/** What a function returns, or the code of the error that it throws. */
function outcome<Value>(of: () => Value): Value | string {
  try {
    return of();
  } catch (error) {
    return (error as { code: string }).code;
  }
}

const HTTPS = { issuer: "https://auth.example.com" };
const request = (headers: Record<string, string>, url = "https://auth.example.com/people") =>
  new Request(url, { headers });

describe("the cookie of a session", () => {
  const read = (cookie: string, more: Record<string, string> = {}) =>
    outcome(() => readSessionCookie(request({ cookie, ...more }), HTTPS));

  it.each([
    ["__Host-agentauth=a", "a"],
    ["other=1; __Host-agentauth=a;x=2", "a"],
    ["__Host-agentauth=a=b", "a=b"],
    ["__Host-agentauth=", ""],
    ["", undefined],
    ["agentauth=a", undefined],
    ["__Host-agentauth-login=a", undefined],
    ["x__Host-agentauth=a", undefined],
    ["agentauth-80=a", undefined],
    ["__Host-agentauth=a; __Host-agentauth=a", "several_credentials"],
    ["__Host-agentauth=a; __Host-agentauth=b", "several_credentials"],
  ])("is read from %j", (cookie, value) => {
    expect(read(cookie)).toBe(value);
  });

  it("is not taken beside another credential, which is no matter without it", () => {
    expect(read("__Host-agentauth=a", { authorization: "Bearer x" })).toBe("several_credentials");
    expect(read("other=1", { authorization: "Bearer x" })).toBeUndefined();
    expect(outcome(() => readSessionCookie(request({}), HTTPS))).toBeUndefined();
  });

  it("has the port in its name on http, and is Secure on https only", () => {
    const local = { issuer: null };
    const at = (url: string, cookie: string) => readSessionCookie(request({ cookie }, url), local);
    expect(at("http://127.0.0.1:8787/", "agentauth-8787=a; agentauth-80=b")).toBe("a");
    expect(at("http://localhost/", "agentauth-8787=a; agentauth-80=b")).toBe("b");
    expect(sessionCookie("https://auth.example.com", "a", 7_999)).toBe(
      "__Host-agentauth=a; Path=/; HttpOnly; SameSite=Strict; Max-Age=7; Secure",
    );
    expect(sessionCookie("http://localhost:8787", "a", 7_999)).toBe(
      "agentauth-8787=a; Path=/; HttpOnly; SameSite=Strict; Max-Age=7",
    );
    expect(endedCookie("http://localhost")).toBe("agentauth-80=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    expect(loginCookie("https://auth.example.com", "a", 600_000)).toBe(
      "__Host-agentauth-login=a; Path=/; HttpOnly; SameSite=Lax; Max-Age=600; Secure",
    );
  });

  it("of a login is one, or none", () => {
    const login = (cookie: string) => readLoginCookie(request({ cookie }), HTTPS);
    expect(login("__Host-agentauth=a; __Host-agentauth-login=b")).toBe("b");
    expect(login("__Host-agentauth=a")).toBeUndefined();
    expect(login("__Host-agentauth-login=b; __Host-agentauth-login=b")).toBeUndefined();
  });
});

describe("the origin of a deployment", () => {
  it.each([
    ["https://auth.example.com/x", "http://other.example/", "https://auth.example.com"],
    [null, "http://127.0.0.1:8787/x", "http://localhost:8787"],
    [null, "http://[::1]:8787/x", "http://localhost:8787"],
    ["http://127.0.0.1:8787", "http://127.0.0.1:9999/x", "http://localhost:8787"],
    [null, "https://127.0.0.1.example/x", "https://127.0.0.1.example"],
  ])("of the issuer %s at %s is %s", (issuer, url, origin) => {
    expect(publicOrigin({ issuer }, { url })).toBe(origin);
  });

  it("is that of every page that changes something", () => {
    const from = (headers: Record<string, string>) => outcome(() => requireOwnPage(request(headers), HTTPS));
    const own = { origin: "https://auth.example.com", "x-agentauth-console": "1" };
    expect(from(own)).toBeUndefined();
    for (const headers of [{}, { origin: own.origin }, { ...own, origin: "null" }, { "x-agentauth-console": "1" }]) {
      expect(from(headers)).toBe("cross_origin");
    }
  });
});

const NOW = 1_000_000_999;
interface Given {
  role?: Role;
  method?: "passkey" | "link";
  clientId?: string;
  ownsAgent?: boolean;
  authTime?: number;
}
const personOf = ({ role = "admin", method = "passkey", clientId, ownsAgent = false, authTime = NOW }: Given) =>
  ({
    kind: "person",
    id: "per_a",
    name: "Ada",
    person: { id: "per_a", role },
    session: { id: "pss_a", method, clientId: clientId ?? null, authTime },
    ownsAgent,
  }) as unknown as PersonCaller;

describe("the authority of a person", () => {
  const ALL: readonly Role[] = ["admin", "owner", "auditor"];
  const authorize = (given: Given, method = "POST", ofAgent?: string, roles = ALL) =>
    outcome(() => authorizePerson(personOf(given), { roles, method, ofAgent }));
  const own = (role: Role) => ({ personId: "per_a", sessionId: "pss_a", role });

  it("is that of their role, where the route takes it", () => {
    expect(authorize({})).toEqual(own("admin"));
    expect(authorize({}, "POST", "agt_a")).toEqual(own("admin"));
    expect(authorize({}, "GET", undefined, ["owner", "auditor"])).toBe("role_required");
    expect(authorize({ role: "owner" }, "GET", undefined, ["admin", "auditor"])).toBe("role_required");
    expect(authorize({ clientId: "cli" })).toEqual({ ...own("admin"), byCommand: true });
  });

  it("of an auditor only reads", () => {
    for (const method of ["GET", "HEAD"]) expect(authorize({ role: "auditor" }, method)).toEqual(own("auditor"));
    for (const method of ["POST", "PUT", "PATCH", "DELETE"])
      expect(authorize({ role: "auditor" }, method)).toBe("role_required");
  });

  it("of an owner reaches agents of theirs", () => {
    expect(authorize({ role: "owner" })).toEqual(own("owner"));
    expect(authorize({ role: "owner" }, "GET", "agt_a")).toBe("role_required");
    const owned = { ...own("owner"), ownedAgent: "agt_a" };
    expect(authorize({ role: "owner", ownsAgent: true }, "GET", "agt_a")).toEqual(owned);
  });

  it("is none in a session that a link opened", () => {
    for (const role of ALL) expect(authorize({ role, method: "link", ownsAgent: true }, "GET")).toBe("role_required");
  });

  it("names in its refusal those who may, and no auditor where something is changed", () => {
    const refused = (method: string, roles: readonly Role[]) => {
      try {
        authorizePerson(personOf({ role: "owner" }), { roles, method, ofAgent: undefined });
      } catch (error) {
        return (error as Error).message;
      }
      return undefined;
    };
    expect(refused("GET", ["admin", "auditor"])).toContain("for admin and auditor.");
    expect(refused("POST", ["admin", "auditor"])).toContain("for admin.");
    expect(refused("POST", ["auditor"])).toContain("for agents.");
  });
});

describe("a recent proof", () => {
  const agentWith = (authTime: number | undefined) =>
    ({ kind: "agent", claims: { authTime }, tokenGrants: [], agent: { grants: [] } }) as unknown as Caller;
  const config = { catalogue: {} } as never;
  const seconds = 1_000_000;

  it.each([
    ["an agent's of five minutes ago", agentWith(seconds - 300), true],
    ["an agent's of a second before that", agentWith(seconds - 301), false],
    ["an agent's that does not say when it was", agentWith(undefined), false],
    ["a person's of five minutes ago", personOf({ authTime: (seconds - 300) * 1000 }), true],
    ["a person's of a second before that", personOf({ authTime: (seconds - 301) * 1000 + 999 }), false],
  ])("may be %s: %s", (_, caller, isRecent) => {
    expect(hasRecentProof({ caller, now: NOW, config })).toBe(isRecent);
  });

  it("is asked of commands, and not of browsers and agents", () => {
    const old = { authTime: 0 };
    const required = (caller: Caller | PersonCaller) => outcome(() => requireRecentCommand({ caller, now: NOW }));
    expect(required(personOf({ clientId: "cli", ...old }))).toBe("browser_required");
    expect(required(personOf({ clientId: "cli" }))).toBeUndefined();
    expect(required(personOf(old))).toBeUndefined();
    expect(required(agentWith(0))).toBeUndefined();
  });

  it("is enough for a key of an administrator to whoever administers in a browser only", async () => {
    const given = (authority: object, caller: Caller | PersonCaller = personOf({})) =>
      requireProofForKey({ caller, authority, now: NOW, config, params: { id: "agt_a" } } as never);
    const person = { personId: "per_a", sessionId: "pss_a" };
    const admin: Partial<Authority> = { ...person, role: "admin" };
    expect(await given(admin)).toEqual(admin);
    expect(await given({ ...admin, byCommand: true })).toEqual({ ...admin, byCommand: true, keyFor: "agt_a" });
    const owner = { ...person, role: "owner", ownedAgent: "agt_a" };
    expect(await given(owner)).toEqual({ ...owner, keyFor: "agt_a" });
    const agent = { agentId: "agt_b" };
    expect(await given(agent, agentWith(seconds))).toEqual(agent);
    await expect(given(agent, agentWith(0))).rejects.toMatchObject({ code: "reauthentication_required" });
  });
});

describe("an assertion", () => {
  const [id, clientDataJSON, authenticatorData, signature] = ["cred", "AQ", "Ag", "Aw"];
  const whole = { id, clientDataJSON, authenticatorData, signature };

  it("is read from its four fields, whatever stands beside them", () => {
    const read = toAssertion({ ...whole, type: "public-key" });
    expect(read && { ...read, signature: toBase64Url(read.signature) }).toEqual({
      id,
      clientDataJSON: Uint8Array.of(1),
      authenticatorData: Uint8Array.of(2),
      signature,
    });
  });

  it("is not read from anything else", () => {
    for (const value of [null, undefined, 1, "x", []]) expect(toAssertion(value)).toBeUndefined();
    for (const name of Object.keys(whole)) {
      for (const value of name === "id" ? [undefined, 1] : [undefined, 1, "%", ""]) {
        expect(toAssertion({ ...whole, [name]: value })).toBeUndefined();
      }
    }
  });
});

describe("what a record says of who sent a request", () => {
  const from = (caller?: unknown, ipAddress = "192.0.2.1") =>
    originOf({ caller: caller as Registrar | undefined, ipAddress, requestId: "req" });
  const none = { act: [], ipAddress: "192.0.2.1", requestId: "req", actor: null, keyId: null, sessionId: null };
  const agentActor = { type: "agent", id: "agt_a", name: "a" };

  it("is that nobody is known, or who it is", () => {
    expect(from()).toEqual(none);
    expect(from(undefined, "")).toEqual({ ...none, ipAddress: null });
    expect(from({ kind: "stranger" })).toEqual(none);
    expect(from({ kind: "bootstrap" })).toEqual({ ...none, actor: { type: "bootstrap", id: null, name: null } });
    const person = { ...none, actor: { type: "person", id: "per_a", name: "Ada" }, sessionId: "pss_a" };
    expect(from(personOf({}))).toEqual(person);
    expect(from({ kind: "person", id: "per_a", name: "Ada", authority: { sessionId: "pss_a" } })).toEqual(person);
    const authority = { agentId: "agt_a", basis: { sessionId: "ses_a" } };
    const registrar = { kind: "agent", name: "a", authority };
    expect(from(registrar)).toEqual({ ...none, actor: agentActor, sessionId: "ses_a" });
  });

  it("is an agent with its key, and the whole chain of a delegated token", () => {
    const links = [{ agentId: "agt_a", basis: { sessionId: "ses_a" } }];
    const agent = { id: "agt_a", name: "a" };
    const claims = { sub: "agt_a", links };
    const own = { ...none, actor: agentActor, keyId: "key_a", sessionId: "ses_a" };
    expect(from({ kind: "agent", agent, claims, keyId: "key_a" })).toEqual(own);
    const delegation = { actors: ["agt_a", "agt_b"] };
    const delegated = { kind: "agent", agent, claims: { sub: "agt_c", links, delegation }, keyId: "key_a" };
    expect(from(delegated)).toEqual({ ...own, act: [{ sub: "agt_a" }, { sub: "agt_b" }, { sub: "agt_c" }] });
  });
});
