import { decodeJwt } from "jose";
import { describe, expect, it } from "vitest";
import { PAGES } from "../../src/api/pages.ts";
import { ROUTES } from "../../src/app.ts";
import { checkHost } from "../../src/http/host.ts";
import { SLOW } from "../support/extents.ts";
import { world, type World } from "../support/world.ts";

const NAMED = "https://console.example.com";
const development = (overrides: Record<string, unknown> = {}): World =>
  world({ ENVIRONMENT: "development", ISSUER: "", CORS_ORIGINS: `${NAMED}, *`, ...overrides });
const from = (headers: Record<string, string>) => ({ headers });

/** Every path of the API, the gateway's in both forms that the app distinguishes, and paths that do not exist. */
const PATHS: readonly (readonly [method: string, path: string])[] = [
  ...ROUTES.map(({ method, path }) => [method, path.replace(/\{\w+\}/g, "x")] as const),
  ["GET", "/proxy/lab/things"],
  ["POST", "/proxy/lab/things"],
  ["HEAD", "/proxy/lab/things"],
  ["OPTIONS", "/agents/register"],
  ["PATCH", "/agents"],
  ["GET", "/docs"],
  ["GET", "/openapi.json"],
  ["GET", "/nowhere"],
];

/** Every fifth path, for each place others: five hosts one after the other meet all of them. */
const oneInFive = (place: number): typeof PATHS => PATHS.filter((_, index) => (index + place) % 5 === 0);

const misdirected = { status: 421, code: "misdirected_request" };

describe("local development", () => {
  it.each([
    "http://localhost:8787",
    "http://127.0.0.1:9000",
    "http://[::1]:8787",
    "http://LOCALHOST",
    "https://localhost",
  ])("answers this machine: %s", async (origin) => {
    const { status, body } = await development().call(`${origin}/permissions/list`);
    expect([status, body.code]).toEqual([200, undefined]);
  });

  const OTHER_HOSTS = [
    "http://evil.example:8787",
    "http://localhost.evil.example:8787",
    "http://localhost.:8787",
    "http://127.0.0.1.nip.io:8787",
    "http://evil.localhost:8787",
    "http://0.0.0.0:8787",
    "http://127.0.0.2:8787",
    "http://192.168.0.1:8787",
    "http://[::ffff:127.0.0.1]:8787",
    "http://[::]:8787",
  ];
  for (const [place, origin] of OTHER_HOSTS.entries()) {
    it(`answers no other host on one path in five: ${origin}`, () => answersNoHost(origin, oneInFive(place)));
    it(`answers no other host on any path: ${origin}`, SLOW, () => answersNoHost(origin, PATHS));
  }

  async function answersNoHost(origin: string, paths: typeof PATHS): Promise<void> {
    const self = development();
    for (const [method, path] of paths) {
      const response = await self.fetch(origin + path, { method });
      expect([method, path, response.status]).toEqual([method, path, 421]);
      if (method !== "HEAD") expect(await response.json()).toMatchObject(misdirected);
    }
  }

  it("serves one API at localhost, 127.0.0.1 and [::1], with tokens of one issuer", async () => {
    const self = development({ ISSUER: "http://localhost:8787" });
    const post = (json: object) => ({ method: "POST", json });
    const agent = { name: "an agent", owner_email: "owner@example.com", permissions: ["lab:things:read"] };
    const { agent: made, credentials } = (await self.call("http://127.0.0.1:8787/agents/register", post(agent))).body;
    const key = { agent_id: made.agent_id, api_key: credentials.api_key };
    const { token } = (await self.call("http://127.0.0.1:8787/agents/verify", post(key))).body;
    expect(decodeJwt(token.access_token)).toMatchObject({
      iss: "http://localhost:8787",
      aud: "http://localhost:8787",
    });
    for (const host of ["localhost", "127.0.0.1", "[::1]"]) {
      const read = await self.call(`http://${host}:8787/agents/${made.agent_id}`, { token: token.access_token });
      expect([host, read.status]).toEqual([host, 200]);
    }
  });

  it.each(PAGES)("leads from an address to localhost, where passkeys are: %s", async (path) => {
    const self = development({ ISSUER: "http://localhost:8787" });
    for (const host of ["127.0.0.1", "[::1]"]) {
      const { status, headers } = await self.fetch(`http://${host}:8787${path}?next=//evil.example`);
      expect([status, headers.get("location")]).toEqual([302, `http://localhost:8787${path}?next=//evil.example`]);
    }
  });

  it("believes neither the URL nor the Host header alone", async () => {
    const { call } = development();
    const { body } = await call("http://127.0.0.1:8787/permissions/list", from({ host: "evil.example:8787" }));
    expect(body).toMatchObject(misdirected);
    expect((await call("http://127.0.0.1:8787/health", from({ host: "localhost:8787" }))).status).toBe(200);
  });

  const OTHER_ORIGINS = [
    "http://evil.example:8787",
    "https://localhost.evil.example",
    "http://evil.localhost",
    "https://console.example.com.evil.example",
    "http://console.example.com",
    "chrome-extension://localhost",
    "null",
    "",
    "localhost",
  ];
  for (const [place, origin] of OTHER_ORIGINS.entries()) {
    const sent = JSON.stringify(origin);
    it(`answers no page of another origin on one path in five, whatever the URL says: ${sent}`, () =>
      answersNoPage(origin, oneInFive(place)));
    it(`answers no page of another origin on any path, whatever the URL says: ${sent}`, SLOW, () =>
      answersNoPage(origin, PATHS),
    );
  }

  async function answersNoPage(origin: string, paths: typeof PATHS): Promise<void> {
    const self = development();
    for (const [method, path] of paths) {
      const response = await self.fetch(`http://127.0.0.1:8787${path}`, { method, ...from({ origin }) });
      expect([method, path, response.status]).toEqual([method, path, 421]);
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
    }
  }

  it.each(["http://localhost:3000", "http://127.0.0.1:5173", "https://localhost", "http://[::1]:1", NAMED])(
    "answers a page of this machine or of a named origin: %s",
    async (origin) => {
      for (const path of ["/permissions/list", "/health"]) {
        const { status } = await development().call(`http://127.0.0.1:8787${path}`, from({ origin }));
        expect(status).toBe(200);
      }
    },
  );

  it("registers nobody and calls nothing out for a rebound name", async () => {
    const self = development();
    const json = { name: "rebound", owner_email: "owner@example.com", permissions: ["lab:*:*"] };
    for (const init of [from({}), from({ origin: "http://evil.example:8787" })]) {
      const answer = await self.call("http://evil.example:8787/agents/register", { method: "POST", json, ...init });
      expect(answer.body).toMatchObject(misdirected);
    }
    const rows = await self.env.DB.prepare("SELECT COUNT(*) AS n FROM agents WHERE name = 'rebound'").first();
    expect(rows).toEqual({ n: 0 });
  });

  it("is the only place where this is so: a deployment is called by every name that leads to it", async () => {
    const { call } = world({ CORS_ORIGINS: "" });
    expect((await call("https://agentauth.workers.dev/health", from({ origin: "https://evil.example" }))).status).toBe(
      200,
    );
  });
});

describe("a malformed host", () => {
  it.each(["a/b", "a?b", "a#b", "a@b", "a b", "a, b", "[::1", "::1", "a:x", "a:80:90", "a\\b", "%61", ""])(
    "is a 400 that says so, everywhere: %j",
    async (host) => {
      for (const self of [world(), development()]) {
        for (const path of ["/health", "/nowhere", "/proxy/lab/things", "/openapi.json"]) {
          const { status, headers, body } = await self.call(path, from({ host }));
          expect([path, status, body.code]).toEqual([path, 400, "malformed_host"]);
          expect(body.request_id).toBe(headers.get("x-request-id"));
        }
      }
    },
  );
});

describe("a host that was accepted before", () => {
  const asked = (url: string, host?: string) => {
    const headers = new Headers(host === undefined ? {} : { host });
    return () => checkHost({ url, headers } as Request);
  };

  it("is accepted again, and another one, or another header beside it, is looked at", () => {
    const url = "https://auth.example.com/proxy/lab";
    for (let times = 0; times < 2; times++) expect(asked(url, "auth.example.com")).not.toThrow();
    for (const header of ["auth.example.com/agents", "evil.example@auth.example.com", "a b"]) {
      expect(asked(url, header)).toThrow(/Host/);
      expect(asked(url, "auth.example.com")).not.toThrow();
    }
    for (const other of [
      "https://auth.example.com@evil.example/proxy/lab",
      "https://auth.example.com:99999/proxy/lab",
      "https://auth example.com/proxy/lab",
    ]) {
      expect(asked(other, "auth.example.com")).toThrow(/Host/);
      expect(asked(url, "auth.example.com")).not.toThrow();
    }
  });
});
