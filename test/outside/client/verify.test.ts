// @module-tag slow
import * as dpop from "dpop";
import express from "express";
import { Hono } from "hono";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { requirePermission as forExpress, type VerifiedAgent } from "../../../src/client/express.ts";
import { requirePermission as forHono } from "../../../src/client/hono.ts";
import { AgentAuthClient, AuthenticationError, ConnectionError } from "../../../src/client/index.ts";
import { requirePermission as forNext } from "../../../src/client/next.ts";
import { guard } from "../../../src/client/guard.ts";
import { isGranted, reaches, verifyAccessToken, type VerifyOptions } from "../../../src/client/verify.ts";
import { forgedTokens } from "../../security/forged-tokens.ts";
import { testSecrets } from "../../support/secrets.ts";
import { startWorker, type Agent, type Worker } from "../support/worker.ts";

const ISSUER = "https://auth.example.com";
const WANTED = "lab:things:read";

let worker: Worker;
let agent: Agent;
let wide: Agent;
let other: Agent;
let server: Server;
let options: { issuer: string; jwksUri: string };
let boundKeys: dpop.KeyPair;
let boundToken: string;

/** A token of the agent that is bound to a key. */
async function tokenBoundTo(keys: dpop.KeyPair, scope?: string): Promise<string> {
  const form = { grant_type: "client_credentials", client_id: agent.id, client_secret: agent.apiKey };
  const url = `${worker.url}/oauth/token`;
  const headers = { DPoP: await dpop.generateProof(keys, url, "POST") };
  const body = new URLSearchParams({ ...form, ...(scope && { scope }) });
  const response = await fetch(url, { method: "POST", headers, body });
  return ((await response.json()) as { access_token: string }).access_token;
}

beforeAll(async () => {
  const lab = { base_url: "http://127.0.0.1:9", resources: { things: ["read", "write"] }, rules: ["* /things things"] };
  worker = await startWorker({ ISSUER, "UPSTREAMS.lab": JSON.stringify(lab), UPSTREAM_LAB_TOKEN: "x" });
  [agent, wide, other] = [
    await worker.agent([WANTED, "github:issues:read"]),
    await worker.agent(["lab:things:*"]),
    await worker.agent(["github:*:*"]),
  ];
  options = { issuer: ISSUER, jwksUri: `${worker.url}/.well-known/jwks.json` };
  boundKeys = await dpop.generateKeyPair("ES256");
  boundToken = await tokenBoundTo(boundKeys);
  const app = express();
  app.get("/things", forExpress(WANTED, options), (request, response) => {
    response.json({ id: request.agent!.agentId });
  });
  await new Promise<void>((resolve) => {
    server = app.listen(0, "127.0.0.1", () => resolve());
  });
});
afterAll(async () => {
  server?.close();
  await worker?.stop();
});

describe("verifyAccessToken", () => {
  it("returns the agent of a token, with the published keys alone", async () => {
    const verified = await verifyAccessToken(agent.token, options);
    expect(verified).toMatchObject({ agentId: agent.id, permissions: ["github:issues:read", WANTED], tier: "free" });
    expect(verified.limited).toEqual([]);
    expect(verified.claims).toMatchObject({ iss: ISSUER, aud: ISSUER, sub: agent.id });
  });

  it("does not take a permission with limits, or with an end, for the whole", async () => {
    const [admin, limited] = [await worker.admin(), await worker.agent([WANTED])];
    const expires_at = new Date(Date.now() + 86_400_000).toISOString();
    const grants = [
      { permission: "github:issues:read", where: { "path.owner": { eq: "octo" } } },
      { permission: WANTED, expires_at },
    ];
    await worker.call(`/agents/${limited.id}/grants`, { method: "PUT", token: admin.token, json: { grants } });
    const json = { agent_id: limited.id, api_key: limited.apiKey };
    const token: string = (await worker.call("/agents/verify", { method: "POST", json })).body.token.access_token;
    const verified = await verifyAccessToken(token, options);
    expect([verified.permissions, verified.limited]).toEqual([[], grants]);
    for (const wanted of [WANTED, "github:issues:read"] as const) {
      const request = { authorization: `Bearer ${token}`, dpop: null, method: "GET", path: "/things" };
      const outcome = await guard(request, wanted, options);
      expect(outcome).toMatchObject({ refusal: { status: 403, body: { required: wanted, granted: [] } } });
    }
  });

  describe("and a token that is bound to a key", () => {
    const THING = "https://lab.example.com/things/1?of=this";
    let keys: dpop.KeyPair;
    let bound: string;
    const proofOf = (change: { method?: string; url?: string; token?: string; of?: dpop.KeyPair } = {}) => {
      const { method = "GET", url = THING, token = bound, of = keys } = change;
      return dpop.generateProof(of, url, method, undefined, token);
    };
    const verify = (header: string, token = bound, change: object = {}) =>
      verifyAccessToken(token, { ...options, proof: { header, method: "GET", url: THING, ...change } });

    beforeAll(() => {
      [keys, bound] = [boundKeys, boundToken];
    });
    afterEach(() => void vi.useRealTimers());

    it("refuses it without a proof", async () => {
      await expect(verifyAccessToken(bound, options)).rejects.toThrow("bound to a key");
    });

    it("takes it with one, and says what has to be remembered of that", async () => {
      const { agentId, proof } = await verify(await proofOf());
      const jkt = await dpop.calculateThumbprint(keys.publicKey);
      expect([agentId, proof]).toEqual([agent.id, { jkt, jti: expect.any(String), usableUntil: expect.any(Number) }]);
      expect(Math.abs(proof!.usableUntil - Date.now() - 300_000)).toBeLessThan(60_000);
      await verify(await proofOf({ url: "https://LAB.example.com:443/things/1#x" }));
      await verify(await proofOf({ method: "PUT" }), bound, { method: "PUT" });
    });

    it("refuses a proof for something else", async () => {
      const stranger = await dpop.generateKeyPair("ES256");
      const whole = await proofOf();
      const secret = await generateKeyPair("ES256", { extractable: true });
      const claims = { htm: "GET", htu: THING, jti: "one", ath: "x" };
      const sign = (header: object) =>
        new SignJWT(claims)
          .setIssuedAt()
          .setProtectedHeader({ alg: "ES256", ...header })
          .sign(secret.privateKey);
      const [privateJwk, publicJwk] = [await exportJWK(secret.privateKey), await exportJWK(secret.publicKey)];
      const refusals: [string, string][] = [
        [await proofOf({ method: "POST" }), "htm"],
        [await proofOf({ url: "https://lab.example.com/things/2" }), "htu"],
        [await proofOf({ url: "https://other.example.com/things/1" }), "htu"],
        [await proofOf({ token: agent.token }), "ath"],
        [await dpop.generateProof(keys, THING, "GET"), "ath"],
        [await proofOf({ of: stranger }), "not of the key"],
        [`${whole.slice(0, -6)}AAAAAA`, "has signed"],
        [`${whole}, ${whole}`, "has signed"],
        ["", "has signed"],
        [bound, "has signed"],
        ["a".repeat(5000), "4096"],
        [await sign({ typ: "JWT", jwk: publicJwk }), "has signed"],
        [await sign({ typ: "dpop+jwt" }), "has signed"],
        [await sign({ typ: "dpop+jwt", jwk: publicJwk }), "not of the key"],
        [await sign({ typ: "dpop+jwt", jwk: privateJwk }), ""],
      ];
      for (const [header, reason] of refusals) {
        const refused = verify(header);
        await expect(refused).rejects.toMatchObject({ code: "invalid_dpop_proof" });
        await expect(refused).rejects.toThrow(reason);
      }
      // Its own URL is none.
      await expect(verify(whole, bound, { url: "/things/1" })).rejects.toThrow("htu");
    });

    it("refuses a proof of another time", async () => {
      const now = Date.now();
      const at = async (seconds: number) => {
        vi.useFakeTimers({ toFake: ["Date"], now: now + seconds * 1000 });
        const header = await proofOf();
        vi.useFakeTimers({ toFake: ["Date"], now });
        return verify(header);
      };
      for (const seconds of [-290, 25]) expect((await at(seconds)).agentId).toBe(agent.id);
      for (const seconds of [-310, 40]) await expect(at(seconds)).rejects.toThrow("too old");
    });

    it("refuses a token that is bound to none, with a proof", async () => {
      await expect(verify(await proofOf({ token: agent.token }), agent.token)).rejects.toThrow("bound to no key");
    });
  });

  it("refuses every forged token", async () => {
    const forged = await forgedTokens(agent.token, testSecrets.SIGNING_KEYS, { ...agent, foreign: agent.token });
    // Whether a session and a version still stand, and are ours, only the server knows; how long a token may be is its limit.
    const elsewhere =
      /that never was|another agent's session|a version to come|no sid|^(?:sid|ver|auth_time|key_id) |^100 KB of a token/;
    const judged = forged.filter(({ name, token }) => !elsewhere.test(name) && token !== "");
    expect(judged.length).toBeGreaterThan(60);
    const through: string[] = [];
    for (const { name, token } of judged) {
      const outcome = await verifyAccessToken(token, { ...options, clockTolerance: 0 }).then(
        () => "passed",
        (error: unknown) => (error instanceof AuthenticationError ? "refused" : String(error)),
      );
      if (outcome !== "refused") through.push(`${name}: ${outcome}`);
    }
    expect(through).toEqual([]);
  });

  it("refuses a token by which an agent acts for another one, which only the gateway takes", async () => {
    const client = new AgentAuthClient({ baseUrl: worker.url, agentId: other.id, apiKey: other.apiKey });
    const actor = new AgentAuthClient({ baseUrl: worker.url, agentId: wide.id, apiKey: wide.apiKey });
    const { access_token: token } = await actor.exchange({ subjectToken: agent.token });
    await expect(verifyAccessToken(token, options)).rejects.toMatchObject({ status: 401, code: "invalid_token" });
    const named = await client.exchange({ subAgent: "reader", scope: ["github:issues:read"] });
    await expect(verifyAccessToken(named.access_token, options)).rejects.toThrow("delegated");
  });

  it("has isGranted beside it, under its former name too", () => {
    expect(isGranted(["github:*:*"], "github:issues:read")).toBe(true);
    expect(reaches).toBe(isGranted);
  });

  it("says which check a token fails", async () => {
    const refused = (change: object) =>
      verifyAccessToken(agent.token, { ...options, ...change }).catch((error: Error) => error.message);
    expect(await refused({ issuer: "https://other.example.com" })).toContain('"iss" claim');
    expect(await refused({ audience: "https://other.example.com" })).toContain('"aud" claim');
    expect(await verifyAccessToken(agent.token, { ...options, issuer: ISSUER, audience: ISSUER })).toBeDefined();
  });

  describe("and the published keys", () => {
    const later = (seconds: number) => vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + seconds * 1000 });
    let published: Server;
    let known: { keys: object[] };
    let jwksUri: string;
    let fetched = 0;
    /** What the next fetches get: keys, or a status. */
    let answer: object | number;

    beforeAll(async () => {
      known = (await fetch(options.jwksUri).then((response) => response.json())) as typeof known;
      published = createServer((_, response) => {
        fetched++;
        if (typeof answer === "number") return void response.writeHead(answer).end("down");
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
      });
      await new Promise<void>((resolve) => published.listen(0, "127.0.0.1", resolve));
    });
    afterAll(() => published?.close());
    let paths = 0;
    beforeEach(() => {
      // Keys are kept by URL: each test has one of its own.
      jwksUri = `http://127.0.0.1:${(published.address() as AddressInfo).port}/keys/${paths++}`;
      fetched = 0;
      answer = known;
      // The clock stands still but for `later`: what the machine needs for a test is no time.
      later(0);
    });
    afterEach(() => {
      vi.useRealTimers();
      vi.restoreAllMocks();
    });

    const verify = (more: Partial<VerifyOptions> = {}) =>
      verifyAccessToken(agent.token, { issuer: ISSUER, jwksUri, clockTolerance: 1e6, ...more });
    const code = (work: Promise<unknown>) =>
      work.then(
        () => "verified",
        (error: unknown) => (error as AuthenticationError).code,
      );
    const settled = (count: number) => expect.poll(() => fetched).toBe(count);

    it("fetches them once for many tokens, and again for a key that it does not know, once in each cooldown", async () => {
      answer = { keys: [] };
      for (let n = 0; n < 3; n++) expect(await code(verify())).toBe("invalid_token");
      expect(fetched).toBe(1);
      answer = known;
      later(29);
      expect(await code(verify())).toBe("invalid_token");
      later(2);
      await Promise.all(Array.from({ length: 20 }, () => verify()));
      expect(fetched).toBe(2);
    });

    it("takes cooldown and cacheMaxAge as they are given", async () => {
      answer = { keys: [] };
      expect(await code(verify())).toBe("invalid_token");
      answer = known;
      later(4);
      expect(await code(verify({ cooldown: 5 }))).toBe("invalid_token");
      expect(await code(verify({ cooldown: 3 }))).toBe("verified");
      expect(fetched).toBe(2);
      later(59);
      await verify({ cacheMaxAge: 60 });
      expect(fetched).toBe(2);
      later(2);
      await verify({ cacheMaxAge: 60 });
      await settled(3);
    });

    it("uses the keys that it has while they cannot be fetched, and tries again in the background, ever more rarely", async () => {
      const fetching = vi.spyOn(globalThis, "fetch");
      // Of a fetch in the background, the answer is not there at once.
      const ended = async () => {
        await Promise.all(fetching.mock.results.map(({ value }) => value));
        await new Promise((resolve) => setImmediate(resolve));
      };
      await verify();
      answer = 503;
      later(601);
      // Nobody waits for the fetch that fails, and those who come meanwhile begin no other.
      expect(await Promise.all(Array.from({ length: 20 }, () => code(verify())))).toEqual(Array(20).fill("verified"));
      await ended();
      expect(fetched).toBe(2);
      for (let second = 0; second < 600; second++) {
        later(1);
        expect(await code(verify())).toBe("verified");
        await ended();
      }
      // After 1, 2, 4 … 32 seconds, and then each minute.
      expect(fetched).toBe(16);
      answer = known;
      later(61);
      const before = fetched;
      await verify();
      await expect.poll(() => fetched).toBeGreaterThan(before);
    });

    it("says of a key that it does not know, while the keys cannot be fetched, that they cannot", async () => {
      answer = { keys: known.keys.map((key) => ({ ...key, kid: "another" })) };
      expect(await code(verify())).toBe("invalid_token");
      answer = 503;
      later(31);
      for (let n = 0; n < 5; n++) expect(await code(verify())).toBe("jwks_unavailable");
      expect(fetched).toBe(2);
    });

    it("does not use keys for longer than a day that it cannot fetch again", async () => {
      await verify();
      answer = 503;
      later(86_399);
      expect(await code(verify())).toBe("verified");
      later(2);
      expect(await code(verify())).toBe("jwks_unavailable");
    });

    it("does not fetch again at once where the first fetch fails", async () => {
      answer = 503;
      for (let n = 0; n < 5; n++) expect(await code(verify())).toBe("jwks_unavailable");
      expect(fetched).toBe(1);
      answer = known;
      later(2);
      expect(await code(verify())).toBe("verified");
    });

    it("takes a key away that the deployment has withdrawn", async () => {
      await verify();
      answer = { keys: [] };
      later(601);
      await verify();
      // The fetch in the background has ended only once its keys are in use.
      await expect.poll(() => code(verify())).toBe("invalid_token");
      expect(fetched).toBe(2);
    });
  });

  it("says that what is published are no keys", async () => {
    const jwksUri = `${worker.url}/health`;
    const error = await verifyAccessToken(agent.token, { issuer: ISSUER, jwksUri }).catch((cause: unknown) => cause);
    expect([(error as ConnectionError).code, (error as Error).message]).toEqual([
      "jwks_unavailable",
      expect.stringContaining(jwksUri),
    ]);
  });

  it("says that the keys cannot be fetched", async () => {
    const error = await verifyAccessToken(agent.token, { issuer: ISSUER, jwksUri: "http://127.0.0.1:1/keys" }).catch(
      (cause: unknown) => cause,
    );
    expect(error).toBeInstanceOf(ConnectionError);
    expect((error as ConnectionError).code).toBe("jwks_unavailable");
  });
});

const hono = () => new Hono().get("/things", forHono(WANTED, options), (c) => c.json({ id: c.get("agent").agentId }));
const next = () =>
  forNext(
    WANTED,
    options,
  )((request: Request & { agent: VerifiedAgent }, _context: object) => Response.json({ id: request.agent.agentId }));

describe.each<[string, (headers: Record<string, string>) => Promise<Response>]>([
  ["Hono", async (headers) => hono().request("/things", { headers })],
  ["Express", (headers) => fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/things`, { headers })],
  ["Next.js", (headers) => next()(new Request("https://app.example/things", { headers }), {})],
])("requirePermission for %s", (_, get) => {
  const as = async (token?: string) => {
    const answer = await get(token === undefined ? {} : { authorization: `Bearer ${token}` });
    // oxlint-disable-next-line typescript/no-explicit-any -- an error or the app's own answer
    return { status: answer.status, headers: answer.headers, body: (await answer.json()) as any };
  };

  it("lets pass who has the permission, alone or by a wildcard, and says who it is", async () => {
    for (const one of [agent, wide]) expect(await as(one.token)).toMatchObject({ status: 200, body: { id: one.id } });
  });

  it("refuses others with 403, saying what is required and granted", async () => {
    const { status, body, headers } = await as(other.token);
    expect(status).toBe(403);
    expect(body).toMatchObject({
      error: "Insufficient permissions",
      code: "insufficient_permissions",
      status: 403,
      message: expect.any(String),
      request_id: expect.any(String),
      required: WANTED,
      granted: ["github:*:*"],
    });
    expect(headers.get("www-authenticate")).toContain("insufficient_scope");
  });

  it("refuses strangers with 401 and a challenge", async () => {
    for (const token of [undefined, "garbage", agent.refreshToken, `${agent.token.slice(0, -4)}AAAA`]) {
      const { status, body, headers } = await as(token);
      expect([status, body.status, typeof body.error]).toEqual([401, 401, "string"]);
      expect(headers.get("www-authenticate")).toMatch(/^Bearer/);
      expect(headers.get("content-type")).toMatch(/^application\/json/);
    }
  });
});

describe.each<[string, (headers: Record<string, string>, path: string, more: object) => Promise<Response>]>([
  [
    "Hono",
    async (headers, path, more) =>
      new Hono()
        .basePath("/v1")
        .on(["GET", "POST"], "/things", forHono(WANTED, { ...options, ...more }), (c) => c.text(c.get("agent").agentId))
        .request(`http://inside.internal:8080${path}`, { headers }),
  ],
  [
    "Express",
    async (headers, path, more) => {
      const router = express.Router();
      const guarded = forExpress(WANTED, { ...options, ...more });
      router.get("/things", guarded, (request, response) => void response.send(request.agent!.agentId));
      const app = express().use("/v1", router);
      app.use((error: Error, _request: unknown, response: express.Response, _next: unknown) => {
        response.status(500).send(error.message);
      });
      const one = createServer(app);
      await new Promise<void>((resolve) => one.listen(0, "127.0.0.1", resolve));
      try {
        return await fetch(`http://127.0.0.1:${(one.address() as AddressInfo).port}${path}`, { headers });
      } finally {
        one.close();
        one.closeAllConnections();
      }
    },
  ],
  [
    "Next.js",
    async (headers, path, more) =>
      forNext(WANTED, { ...options, ...more })(
        (request: Request & { agent: VerifiedAgent }, _context: object) => new Response(request.agent.agentId),
      )(new Request(`http://inside.internal:8080${path}`, { headers }), {}),
  ],
])("requirePermission for %s, and a token that is bound to a key", (_, get) => {
  const PUBLIC = { publicUrl: "https://lab.example.com" };
  const proofFor = (url: string, of = boundKeys, method = "GET") =>
    dpop.generateProof(of, url, method, undefined, boundToken);
  const send = (proof: string | undefined, { path = "/v1/things", more = PUBLIC as object, scheme = "DPoP" } = {}) =>
    get({ authorization: `${scheme} ${boundToken}`, ...(proof !== undefined && { dpop: proof }) }, path, more);
  const refusal = async (response: Response) => [
    response.status,
    ((await response.json()) as { code: string }).code,
    response.headers.get("www-authenticate"),
  ];
  const ALGORITHMS = 'algs="ES256 EdDSA RS256 PS256"';

  it("takes it with a proof for the URL that callers know", async () => {
    const whole = await send(await proofFor("https://lab.example.com/v1/things"), { path: "/v1/things?of=this" });
    expect([whole.status, await whole.text()]).toEqual([200, agent.id]);
    // Something in front of the service has taken a part of the path away, and sends to another host.
    const more = { publicUrl: "https://example.com/lab/" };
    expect((await send(await proofFor("https://example.com/lab/v1/things"), { more })).status).toBe(200);
  });

  it("takes each proof once", async () => {
    const proof = await proofFor("https://lab.example.com/v1/things");
    expect((await send(proof)).status).toBe(200);
    const again = `DPoP error="invalid_dpop_proof", ${ALGORITHMS}`;
    expect(await refusal(await send(proof))).toEqual([401, "invalid_dpop_proof", again]);
  });

  it("asks a store of the application whether a proof is new", async () => {
    const asked: [string, number][] = [];
    const rememberProof = async (id: string, usableUntil: number) => asked.push([id, usableUntil]) === 1;
    const more = { ...PUBLIC, rememberProof };
    const proofs = [1, 2].map(() => proofFor("https://lab.example.com/v1/things"));
    expect((await send(await proofs[0]!, { more })).status).toBe(200);
    expect((await send(await proofs[1]!, { more })).status).toBe(401);
    for (const [id, usableUntil] of asked) {
      expect(id).toMatch(/^[\w-]{43}$/);
      expect(usableUntil).toBeGreaterThan(Date.now());
    }
    expect(new Set(asked.map(([id]) => id)).size).toBe(2);
  });

  it("refuses a proof for something else, and the name of the host that the request says", async () => {
    const stranger = await dpop.generateKeyPair("ES256");
    const wrong = [
      await proofFor("http://inside.internal:8080/v1/things"),
      await proofFor("https://lab.example.com/things"),
      await proofFor("https://lab.example.com/v1/things", boundKeys, "POST"),
      await proofFor("https://lab.example.com/v1/things", stranger),
      "garbage",
      "",
      undefined,
    ];
    const challenge = `DPoP error="invalid_dpop_proof", ${ALGORITHMS}`;
    for (const proof of wrong) expect(await refusal(await send(proof))).toEqual([401, "invalid_dpop_proof", challenge]);
  });

  it("refuses it as Bearer, and another token in its scheme", async () => {
    const url = "https://lab.example.com/v1/things";
    const challenge = `DPoP error="invalid_token", ${ALGORITHMS}`;
    const asBearer = await send(await proofFor(url), { scheme: "Bearer" });
    const both = `Bearer error="invalid_token", DPoP ${ALGORITHMS}`;
    expect(await refusal(asBearer)).toEqual([401, "invalid_token", both]);
    const proof = await dpop.generateProof(boundKeys, url, "GET", undefined, agent.token);
    const unbound = await get({ authorization: `DPoP ${agent.token}`, dpop: proof }, "/v1/things", PUBLIC);
    expect(await refusal(unbound)).toEqual([401, "invalid_token", challenge]);
  });

  it("challenges in both schemes where nothing is sent", async () => {
    const response = await get({}, "/v1/things", PUBLIC);
    expect(await refusal(response)).toEqual([401, "missing_token", `Bearer, DPoP ${ALGORITHMS}`]);
  });

  it("refuses it where the service's own URL is not known, and says what is missing", async () => {
    const response = await send(await proofFor("http://inside.internal:8080/v1/things"), { more: {} });
    const message = expect.stringContaining("publicUrl");
    expect([response.status, await response.json()]).toEqual([401, expect.objectContaining({ message })]);
    process.env.AGENTAUTH_PUBLIC_URL = PUBLIC.publicUrl;
    try {
      const proof = await proofFor("https://lab.example.com/v1/things");
      expect((await send(proof, { more: {} })).status).toBe(200);
    } finally {
      delete process.env.AGENTAUTH_PUBLIC_URL;
    }
  });

  it("passes on that the store of the application has failed", async () => {
    const rememberProof = () => Promise.reject(new Error("the store is down"));
    const proof = await proofFor("https://lab.example.com/v1/things");
    const outcome = await send(proof, { more: { ...PUBLIC, rememberProof } }).then(
      ({ status }) => status,
      (error: Error) => error.message,
    );
    expect([500, "the store is down"]).toContain(outcome);
  });

  it("says which permission it lacks in its own scheme", async () => {
    const url = "https://lab.example.com/v1/things";
    const narrow = await tokenBoundTo(boundKeys, "github:issues:read");
    const proof = await dpop.generateProof(boundKeys, url, "GET", undefined, narrow);
    const response = await get({ authorization: `DPoP ${narrow}`, dpop: proof }, "/v1/things", PUBLIC);
    const challenge = `DPoP error="insufficient_scope", scope="${WANTED}", ${ALGORITHMS}`;
    expect(await refusal(response)).toEqual([403, "insufficient_permissions", challenge]);
  });
});

describe("requirePermission without an issuer", () => {
  it("reads AGENTAUTH_ISSUER, and says what is missing", async () => {
    const get = forNext(WANTED)(() => new Response());
    const request = new Request("https://app.example/", { headers: { authorization: `Bearer ${agent.token}` } });
    await expect(get(request, {})).rejects.toThrow("AGENTAUTH_ISSUER");
    process.env.AGENTAUTH_ISSUER = worker.url;
    try {
      expect((await get(request, {})).status).toBe(401);
    } finally {
      delete process.env.AGENTAUTH_ISSUER;
    }
  });
});
