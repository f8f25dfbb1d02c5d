import express from "express";
import { Hono } from "hono";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { requirePermission as forExpress, type VerifiedAgent } from "../../../src/client/express.ts";
import { requirePermission as forHono } from "../../../src/client/hono.ts";
import { AuthenticationError, ConnectionError } from "../../../src/client/index.ts";
import { requirePermission as forNext } from "../../../src/client/next.ts";
import { verifyAccessToken } from "../../../src/client/verify.ts";
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

beforeAll(async () => {
  const lab = { base_url: "http://127.0.0.1:9", resources: { things: ["read", "write"] }, rules: ["* /things things"] };
  worker = await startWorker({ ISSUER, "UPSTREAMS.lab": JSON.stringify(lab), UPSTREAM_LAB_TOKEN: "x" });
  [agent, wide, other] = [
    await worker.agent([WANTED, "github:issues:read"]),
    await worker.agent(["lab:things:*"]),
    await worker.agent(["github:*:*"]),
  ];
  options = { issuer: ISSUER, jwksUri: `${worker.url}/.well-known/jwks.json` };
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
  it("tells whose a token is, over the published keys alone", async () => {
    const verified = await verifyAccessToken(agent.token, options);
    expect(verified).toMatchObject({ agentId: agent.id, permissions: [WANTED, "github:issues:read"], tier: "free" });
    expect(verified.claims).toMatchObject({ iss: ISSUER, aud: ISSUER, sub: agent.id });
  });

  it("refuses every forged token", async () => {
    const forged = await forgedTokens(agent.token, testSecrets.SIGNING_KEYS, { ...agent, foreign: agent.token });
    // Whether a session still stands, and whether it is one of ours, only the server knows; how long it may be is its limit.
    const elsewhere = /that never was|another agent's session|no sid|^sid |^100 KB of a token/;
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

  it("says which check a token fails", async () => {
    const refused = (change: object) =>
      verifyAccessToken(agent.token, { ...options, ...change }).catch((error: Error) => error.message);
    expect(await refused({ issuer: "https://other.example.com" })).toContain('"iss" claim');
    expect(await refused({ audience: "https://other.example.com" })).toContain('"aud" claim');
    expect(await verifyAccessToken(agent.token, { ...options, issuer: ISSUER, audience: ISSUER })).toBeDefined();
  });

  it("fetches the keys once for many tokens, and again for a key that it does not know, not at once", async () => {
    let fetched = 0;
    let keys: object = await fetch(options.jwksUri).then((answer) => answer.json());
    const published = createServer((_, response) => {
      fetched++;
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(keys));
    });
    await new Promise<void>((resolve) => published.listen(0, "127.0.0.1", resolve));
    const jwksUri = `http://127.0.0.1:${(published.address() as AddressInfo).port}/keys`;
    const judge = () => verifyAccessToken(agent.token, { issuer: ISSUER, jwksUri });
    const known = keys;
    try {
      keys = { keys: [] };
      for (let n = 0; n < 3; n++) await expect(judge()).rejects.toBeInstanceOf(AuthenticationError);
      expect(fetched).toBe(1);
      keys = known;
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 31_000 });
      await Promise.all(Array.from({ length: 20 }, judge));
      expect(fetched).toBe(2);
    } finally {
      vi.useRealTimers();
      published.close();
    }
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
