// @module-tag slow
import { generateKeyPairSync, verify } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { SLOW, extents } from "../support/extents.ts";
import { startRecorder, type Recorder } from "./support/recorder.ts";
import { startWorker, startWorkers, type Agent, type Worker } from "./support/worker.ts";

/** Access tokens that all isolates share, between real processes and a real token endpoint. */
const SECRET = "client-secret-of-the-company-0123456789";
const RSA = generateKeyPairSync("rsa", {
  modulusLength: 2048,
  publicKeyEncoding: { type: "spki", format: "pem" },
  privateKeyEncoding: { type: "pkcs1", format: "pem" },
});

/** What the endpoint of each upstream does: `/{upstream}/token`. Everything else is the API, which takes the newest token only. */
type Behaviour = (response: ServerResponse, request: IncomingMessage) => void;
const behaviours = new Map<string, Behaviour>();
const issued = new Map<string, number>();

const json = (response: ServerResponse, status: number, body: unknown): void =>
  void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
const tokenOf = (upstream: string): string => `issued-token-${upstream}-${issued.get(upstream) ?? 0}`;
function issue(upstream: string): string {
  issued.set(upstream, (issued.get(upstream) ?? 0) + 1);
  return tokenOf(upstream);
}

const NAMES = ["parallel40", "parallel200", "refusing", "killed", "rotated", "failing", "slow", "google", "salesforce"];
let endpoint: Recorder;

const asked = (upstream: string) => endpoint.seen.filter(({ target }) => target.startsWith(`/${upstream}/token`));
const upstreamOf = (name: string) => ({
  base_url: `${endpoint.url}/${name}`,
  resources: { things: ["read"] },
  rules: ["GET /things things"],
});

function settings(): Record<string, string> {
  // The isolates have ports of their own, and accept each other's tokens.
  const all: Record<string, string> = { ISSUER: "https://auth.example.com" };
  for (const name of NAMES) {
    const credential = { scheme: "client_credentials", token_url: `/${name}/token` };
    all[`UPSTREAMS.${name}`] = JSON.stringify({ ...upstreamOf(name), credential });
    all[`UPSTREAM_${name.toUpperCase()}_CLIENT_ID`] = `client-of-${name}`;
    all[`UPSTREAM_${name.toUpperCase()}_CLIENT_SECRET`] = SECRET;
  }
  const google = {
    scheme: "jwt_bearer",
    token_url: "/google/token",
    claims: { scope: "https://www.googleapis.com/auth/drive.readonly" },
    key_id: "key-1",
  };
  all["UPSTREAMS.google"] = JSON.stringify({ ...upstreamOf("google"), credential: google });
  all.UPSTREAM_GOOGLE_PRIVATE_KEY = RSA.privateKey.replaceAll("\n", "\\n");
  all["UPSTREAMS.salesforce"] = JSON.stringify({
    base_url: endpoint.url,
    credential: {
      scheme: "jwt_bearer",
      token_url: "/salesforce/token",
      audience: "https://login.salesforce.com",
      claims: { sub: "integration@example.com" },
    },
  });
  all.UPSTREAM_SALESFORCE_PRIVATE_KEY = RSA.privateKey;
  all["UPSTREAMS.github"] = JSON.stringify({
    base_url: `${endpoint.url}/github/api/v3`,
    credential: {
      scheme: "github_app",
      installation_id: "4711",
      repositories: ["shop"],
      permissions: { issues: "read" },
    },
  });
  all.UPSTREAM_GITHUB_TOKEN = "";
  all.UPSTREAM_GITHUB_CLIENT_ID = "Iv1.0123456789";
  all.UPSTREAM_GITHUB_PRIVATE_KEY = RSA.privateKey;
  return all;
}

/** How often something happens that waits for a second, then for two, then for four. */
const doublingsIn = (ms: number): number => Math.floor(Math.log2(ms / 1000 + 1));

let workers: Worker[];
let agent: Agent;
const call = (upstream: string, worker: Worker = workers[0]!) =>
  worker.call(`/proxy/${upstream}/things`, { token: agent.token });

beforeAll(async () => {
  endpoint = await startRecorder((request, response) => {
    const [, upstream = "", part] = request.url!.split(/[/?]/);
    const behaviour = behaviours.get(upstream);
    if (part === "token" || request.url!.endsWith("/access_tokens")) {
      if (behaviour) return behaviour(response, request);
      return json(response, 200, { access_token: issue(upstream), token_type: "Bearer", expires_in: 3600 });
    }
    const isNewest = request.headers.authorization === `Bearer ${tokenOf(upstream)}`;
    return json(response, isNewest ? 200 : 401, {});
  });
  workers = await startWorkers(2, settings());
  agent = await workers[0]!.agent(["*:*:*"], (await workers[0]!.admin()).token);
});
afterAll(async () => {
  endpoint?.close();
  await workers?.[0]?.stop();
});
afterEach(() => behaviours.clear());

describe("an access token that isolates share", () => {
  for (const { numRuns: count, options } of extents(40, 200)) {
    it(`is requested once for ${count} requests that come to two isolates together`, options, async () => {
      const upstream = `parallel${count}`;
      behaviours.set(upstream, (response) => {
        setTimeout(() => json(response, 201, { access_token: issue(upstream), token_type: "BearerToken" }), 300);
      });
      const began = Date.now();
      const calls = Array.from({ length: count }, (_, index) => call(upstream, workers[index % 2]));
      expect(new Set((await Promise.all(calls)).map(({ status }) => status))).toEqual(new Set([200]));
      // The endpoint is this process, which a busy machine may hold up: the gateway asks again after ten seconds without an answer.
      expect(asked(upstream).length).toBeLessThanOrEqual(1 + Math.floor((Date.now() - began) / 10_000));
    });
  }

  it("is replaced for all by the first isolate whose request is refused", async () => {
    expect([(await call("refusing")).status, (await call("refusing", workers[1])).status]).toEqual([200, 200]);
    expect(asked("refusing")).toHaveLength(1);
    issue("refusing");
    expect([(await call("refusing")).status, (await call("refusing", workers[1])).status]).toEqual([401, 401]);
    expect([(await call("refusing")).status, (await call("refusing", workers[1])).status]).toEqual([200, 200]);
    expect(asked("refusing")).toHaveLength(2);
  });

  it("is not requested over and over for an upstream that refuses every token", SLOW, async () => {
    behaviours.set("refusing", (response) =>
      json(response, 200, { access_token: "never-good-enough", expires_in: 3600 }),
    );
    const before = asked("refusing").length;
    const began = Date.now();
    issue("refusing");
    for (let round = 0; round < 20; round++) await Promise.all([call("refusing"), call("refusing", workers[1])]);
    // The first one, if no other test has asked for it, and four replacements at once, then one after 1, 2, 4 … seconds.
    expect(asked("refusing").length - before).toBeLessThanOrEqual(5 + doublingsIn(Date.now() - began));
  });

  it("is waited for longer after each failure, and the agent is told for how long", SLOW, async () => {
    behaviours.set("failing", (response) =>
      json(response, 400, { error: "invalid_client", error_description: `no ${SECRET}` }),
    );
    const began = Date.now();
    const first = await call("failing");
    expect(first).toMatchObject({ status: 502, body: { code: "upstream_credential_failed", upstream: "failing" } });
    expect(first.body.message).toContain("ask the gateway's administrator");
    await Promise.all(Array.from({ length: 20 }, (_, index) => call("failing", workers[index % 2])));
    expect((await call("failing")).headers.get("retry-after")).toMatch(/^\d+$/);
    // One more at once, then after 1, 2, 4 … seconds.
    expect(asked("failing").length).toBeLessThanOrEqual(2 + doublingsIn(Date.now() - began));
    const log = workers.flatMap(({ log: lines }) => lines).join("");
    expect(log).toContain("the token endpoint answered 400 (its reason contains a secret, and is withheld)");
    expect(log + JSON.stringify(first.body)).not.toContain(SECRET);
  });
});

describe("the grant with a private key", () => {
  const claimsOf = (assertion: string) => {
    const [header = "", claims = "", signature = ""] = assertion.split(".");
    expect(
      verify("RSA-SHA256", Buffer.from(`${header}.${claims}`), RSA.publicKey, Buffer.from(signature, "base64url")),
    ).toBe(true);
    const parse = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString());
    return { header: parse(header), claims: parse(claims) };
  };

  it("gets the token of a Google service account, whose scope is a claim", async () => {
    expect((await call("google")).status).toBe(200);
    const form = new URLSearchParams(asked("google")[0]!.body);
    expect(form.get("grant_type")).toBe("urn:ietf:params:oauth:grant-type:jwt-bearer");
    const { header, claims } = claimsOf(form.get("assertion")!);
    expect(header).toEqual({ alg: "RS256", typ: "JWT", kid: "key-1" });
    expect(claims).toMatchObject({
      iss: "client-of-google",
      aud: `${endpoint.url}/google/token`,
      scope: "https://www.googleapis.com/auth/drive.readonly",
    });
    const now = Date.now() / 1000;
    expect(claims.iat).toBeLessThan(now - 55);
    expect(claims.exp).toBeGreaterThan(now + 60);
    expect(claims.exp).toBeLessThan(now + 175);
  });

  it("gets Salesforce's token for a user, to be sent below its own domain only", async () => {
    behaviours.set("salesforce", (response) =>
      json(response, 200, {
        access_token: issue("salesforce"),
        instance_url: "https://evil.example",
        token_type: "Bearer",
      }),
    );
    expect(
      (await workers[0]!.call("/proxy/salesforce/services/data/v61.0/sobjects/Account", { token: agent.token })).status,
    ).toBe(502);
    const { claims } = claimsOf(new URLSearchParams(asked("salesforce")[0]!.body).get("assertion")!);
    expect(claims).toMatchObject({
      iss: "client-of-salesforce",
      aud: "https://login.salesforce.com",
      sub: "integration@example.com",
    });
    expect(workers.flatMap(({ log }) => log).join("")).toContain("named an instance outside its domain");
  });

  it("gets the token of a GitHub App's installation, by the endpoint's own clock", async () => {
    behaviours.set("github", (response) => {
      // A server whose clock is a day behind.
      const then = Date.now() - 86_400_000;
      response.setHeader("date", new Date(then).toUTCString());
      json(response, 201, { token: issue("github"), expires_at: new Date(then + 3_600_000).toISOString() });
    });
    for (const worker of workers)
      expect((await worker.call("/proxy/github/repos/o/shop/issues", { token: agent.token })).status).toBe(200);
    const requests = endpoint.seen.filter(({ target }) => target.endsWith("/access_tokens"));
    expect(requests.map(({ target }) => target)).toEqual(["/github/api/v3/app/installations/4711/access_tokens"]);
    const headers = Object.fromEntries(requests[0]!.headers);
    expect(headers["user-agent"]).toBe("AgentAuth");
    expect(JSON.parse(requests[0]!.body)).toEqual({ repositories: ["shop"], permissions: { issues: "read" } });
    expect(claimsOf(headers.authorization!.slice("Bearer ".length)).claims).toEqual({
      iss: "Iv1.0123456789",
      iat: expect.any(Number),
      exp: expect.any(Number),
    });
  });
});

describe("a stored token", () => {
  let stateDir: string;
  beforeAll(() => void (stateDir = mkdtempSync(join(tmpdir(), "agentauth-tokens-"))));
  afterAll(() => rmSync(stateDir, { recursive: true, force: true }));

  it("is served by the next process after a kill, lies encrypted, and belongs to one secret", SLOW, async () => {
    let worker = await startWorker(settings(), { stateDir });
    const permissions = ["killed", "rotated", "slow"].map((name) => `${name}:things:read`);
    let own = await worker.agent(permissions);
    const get = (upstream: string) => worker.call(`/proxy/${upstream}/things`, { token: own.token });
    for (const name of ["killed", "rotated"]) expect((await get(name)).status).toBe(200);
    behaviours.set("slow", () => undefined);
    const unanswered = get("slow").catch(() => undefined);
    await expect.poll(() => asked("slow").length).toBe(1);
    worker.kill();
    await unanswered;
    await worker.stop().catch(() => undefined);
    behaviours.clear();

    const rotated = "another-secret-of-the-company";
    worker = await startWorker({ ...settings(), UPSTREAM_ROTATED_CLIENT_SECRET: rotated }, { stateDir });
    own = await worker.agent(permissions);
    expect((await get("killed")).status).toBe(200);
    expect(asked("killed")).toHaveLength(1);
    expect((await get("rotated")).status).toBe(200);
    expect(asked("rotated").map(({ body }) => body.includes(rotated))).toEqual([false, true]);
    expect((await get("slow")).status).toBe(200);
    expect(asked("slow")).toHaveLength(2);
    await worker.stop();

    const files = readdirSync(stateDir, { recursive: true, encoding: "utf8" }).filter(
      (name) => name.includes("UpstreamTokens") && name.includes(".sqlite"),
    );
    expect(files.length).toBeGreaterThan(0);
    const stored = files.map((name) => readFileSync(join(stateDir, name)).toString("latin1")).join("");
    expect(stored).toContain('"kid"');
    expect(stored).not.toContain("issued-token-");
  });
});
