// @module-tag slow
import { inspect } from "node:util";
import { exportJWK, generateKeyPair, type CryptoKey, type JWK } from "jose";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import {
  AgentAuthClient,
  AuthenticationError,
  type ClientOptions,
  type DpopOptions,
  type PrivateJwk,
} from "../../../src/client/index.ts";
import { startRecorder, type Recorder } from "../support/recorder.ts";
import { startWorker, type Agent, type Worker } from "../support/worker.ts";
import { startFront, type Front } from "./front.ts";

let upstream: Recorder;
let worker: Worker;
let front: Front;
let agent: Agent;
let calls: string[] = [];

beforeAll(async () => {
  upstream = await startRecorder();
  const lab = { base_url: upstream.url, resources: { things: ["read", "write"] }, rules: ["* /things/{id} things"] };
  worker = await startWorker({ "UPSTREAMS.lab": JSON.stringify(lab), UPSTREAM_LAB_TOKEN: "lab-credential" });
  front = await startFront(worker.url);
  agent = await worker.agent(["lab:things:*", "agentauth:tokens:introspect"]);
});
afterAll(async () => {
  front?.close();
  upstream?.close();
  await worker?.stop();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  calls = [];
});

const counting: typeof fetch = (input, init) => {
  calls.push(`${init!.method} ${new URL(String(input)).pathname}`);
  return fetch(input, init);
};
const client = (options: ClientOptions) =>
  new AgentAuthClient({ baseUrl: worker.url, agentId: agent.id, fetch: counting, ...options });
const withApiKey = (options: ClientOptions) => client({ apiKey: agent.apiKey, ...options });
const payloadOf = (token: string) => JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString());
const caught = (work: Promise<unknown>): Promise<Error> =>
  work.then(
    () => expect.unreachable(),
    (error) => error,
  );

/** A new key pair, whose public key the agent has registered. */
async function registeredKey(alg: string, jwk: Partial<JWK> = {}) {
  const pair = await generateKeyPair(alg, { extractable: true });
  const publicJwk = { ...(await exportJWK(pair.publicKey)), alg, ...jwk };
  await withApiKey({ fetch }).addAgentPublicKey(agent.id, publicJwk as { kty: "EC" });
  return { ...pair, jwk: { ...(await exportJWK(pair.privateKey)), alg, ...jwk } as PrivateJwk };
}

describe("a client with a private key", () => {
  it.each(["ES256", "EdDSA", "RS256", "PS256"])("calls everything without any secret, with %s", async (alg) => {
    const { privateKey, jwk } = await registeredKey(alg, { kid: `key-of-${alg}` });
    for (const options of [{ privateKey: jwk }, { privateKey, keyId: `key-of-${alg}` }, { privateKey }]) {
      await using own = client(options);
      expect((await own.getAgent(agent.id)).agent.agent_id).toBe(agent.id);
      expect((await own.proxy("lab")("/things/1", { method: "POST", body: "{}" })).status).toBe(200);
    }
    expect(new Set(calls)).not.toContain("POST /agents/verify");
  });

  it("gets each token with a new assertion, also after a lost response", async () => {
    const { jwk } = await registeredKey("ES256");
    await using own = client({ baseUrl: front.url, issuer: worker.url, privateKey: jwk, scope: ["lab:things:read"] });
    vi.spyOn(Math, "random").mockReturnValue(0);
    front.next("lost");
    const first = await own.getAccessToken();
    expect(front.seen).toEqual(["POST /oauth/token", "POST /oauth/token"]);
    expect(payloadOf(first!)).toMatchObject({ sub: agent.id, scope: "lab:things:read" });
    front.next();
    own.setAccessToken("refused");
    await own.getAgent(agent.id);
    const read = `GET /agents/${agent.id}`;
    expect(front.seen).toEqual([read, "POST /oauth/token", read]);
    // An assertion for another deployment is worth nothing here.
    await using elsewhere = client({ privateKey: jwk, issuer: "https://auth.example.com" });
    await expect(elsewhere.getAgent(agent.id)).rejects.toThrow("aud of the assertion");
  });

  it("uses the OAuth endpoints with it", async () => {
    const { jwk } = await registeredKey("EdDSA");
    await using own = client({ privateKey: jwk });
    const issued = await own.clientCredentials({ scope: ["lab:things:read"] });
    expect(await own.introspectToken(issued.access_token)).toMatchObject({ active: true, sub: agent.id });
    await own.revokeToken(issued.access_token);
    expect(await own.introspectToken(issued.access_token)).toEqual({ active: false });
    const exchanged = await own.exchange({ subAgent: "reader", scope: ["lab:things:read"] });
    await using reader = new AgentAuthClient({ baseUrl: worker.url, accessToken: exchanged.access_token });
    expect((await reader.proxy("lab")("/things/1")).status).toBe(200);
  });

  it("proves itself again where the server asks for it", async () => {
    const { jwk } = await registeredKey("ES256");
    await using own = client({ baseUrl: front.url, issuer: worker.url, privateKey: jwk });
    const old = await own.getAccessToken();
    const body = JSON.stringify({ error: "Forbidden", message: "Prove it.", code: "reauthentication_required" });
    front.next({ status: 403, body });
    await own.createAgentKey(agent.id, { label: "proven" });
    const create = `POST /agents/${agent.id}/keys`;
    expect(front.seen).toEqual([create, "POST /oauth/token", create]);
    expect(await own.getAccessToken()).not.toBe(old);
  });

  it("revokes its agent by a proof that is recent, so that it is not suspended only", async () => {
    const gone = await worker.agent(["lab:things:read"]);
    const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
    const registered = new AgentAuthClient({ baseUrl: worker.url, agentId: gone.id, apiKey: gone.apiKey });
    await registered.addAgentPublicKey(gone.id, (await exportJWK(publicKey)) as { kty: "EC" });
    await using own = client({ agentId: gone.id, privateKey });
    const provenLongAgo = Buffer.from(JSON.stringify({ auth_time: 1 })).toString("base64url");
    own.setAccessToken(`e30.${provenLongAgo}.signature`);
    expect((await own.revokeAgent(gone.id)).agent.status).toBe("revoked");
    expect(calls).toEqual(["POST /oauth/token", `POST /agents/${gone.id}/revoke`]);
  });

  it("goes on with an API key that it is given", async () => {
    const { jwk } = await registeredKey("ES256");
    await using own = client({ privateKey: jwk });
    own.setApiKey(agent.apiKey);
    await own.getAgent(agent.id);
    expect(calls[0]).toBe("POST /agents/verify");
  });

  it("says what is wrong with a key, and nothing of the key", async () => {
    const { jwk, publicKey } = await registeredKey("ES256");
    const { jwk: rsa } = await registeredKey("RS256");
    const p384 = await generateKeyPair("ES384");
    const sha512 = await generateKeyPair("RS512");
    const { d: _d, ...publicJwk } = jwk;
    const wrong = [
      publicKey,
      publicJwk,
      { ...rsa, alg: undefined },
      { ...jwk, alg: "HS256" },
      p384.privateKey,
      sha512.privateKey,
    ];
    for (const privateKey of wrong)
      expect(() => client({ privateKey } as ClientOptions)).toThrow(/^The key is no private key/);
    const invalid = await caught(client({ privateKey: { ...jwk, x: "AAAA" } }).getAgent(agent.id));
    expect([invalid.name, invalid.message]).toEqual(["TypeError", expect.stringContaining("no private key")]);
    expect(inspect(invalid, { depth: 9 })).not.toContain(jwk.d);
    expect(() => client({ privateKey: jwk, apiKey: agent.apiKey })).toThrow("without apiKey");
    expect(() => client({ privateKey: jwk, expiresIn: 60 })).toThrow("expiresIn");
    expect(() => client({ privateKey: jwk, agentId: undefined })).toThrow("agentId");
    const other = await generateKeyPair("ES256");
    await expect(client({ privateKey: other.privateKey }).getAgent(agent.id)).rejects.toThrow(AuthenticationError);
    const own = client({ privateKey: jwk });
    await own.getAgent(agent.id);
    expect(inspect(own, { depth: 9, showHidden: true }) + JSON.stringify(own)).not.toContain(jwk.d);
    await own.close();
  });
});

describe("a client whose tokens are bound to a key (DPoP)", () => {
  const status = async (work: Promise<Response>) => (await work).status;
  const newPair = () => generateKeyPair("ES256") as Promise<{ privateKey: CryptoKey; publicKey: CryptoKey }>;

  it("proves its key in every call, and its tokens are worth nothing elsewhere", async () => {
    const { jwk } = await registeredKey("ES256");
    for (const options of [{ apiKey: agent.apiKey }, { privateKey: jwk }]) {
      await using own = client({ ...options, dpop: true });
      expect((await own.getAgent(agent.id)).agent.agent_id).toBe(agent.id);
      const proxied = own.proxy("lab");
      expect(await status(proxied("/things/1?of=this#part"))).toBe(200);
      expect(await status(proxied("/things/a%20b", { method: "post", body: "{}" }))).toBe(200);
      expect(await status(proxied(new Request("https://lab.example/things/1", { method: "PUT", body: "{}" })))).toBe(
        200,
      );
      const token = (await own.getAccessToken())!;
      expect(payloadOf(token).cnf).toEqual({ jkt: expect.any(String) });
      expect((await worker.call(`/agents/${agent.id}`, { token })).status).toBe(401);
      await using thief = new AgentAuthClient({ baseUrl: worker.url, accessToken: token, dpop: true });
      await expect(thief.getAgent(agent.id)).rejects.toThrow(AuthenticationError);
      expect(await status(thief.proxy("lab")("/things/1"))).toBe(401);
    }
  });

  it("works for an agent that must bind its tokens, and renews them", async () => {
    const strict = await worker.agent(["lab:things:read"]);
    await using own = client({ agentId: strict.id, apiKey: strict.apiKey, dpop: true });
    await own.updateAgent(strict.id, { dpop_bound_access_tokens: true });
    await own.refreshToken();
    expect(await status(own.proxy("lab")("/things/1"))).toBe(200);
    own.setAccessToken("refused");
    expect((await own.getAgent(strict.id)).agent.agent_id).toBe(strict.id);
    await expect(client({ agentId: strict.id, apiKey: strict.apiKey }).getAgent(strict.id)).rejects.toThrow("DPoP");
    const issued = await own.clientCredentials();
    expect(issued.token_type).toBe("DPoP");
    await own.exchange({ subAgent: "reader" });
  });

  it("takes keys of the caller's, which stored tokens are then bound to", async () => {
    const dpop: DpopOptions = { keyPair: await newPair() };
    const stored: { access_token: string; refresh_token: string }[] = [];
    await using before = withApiKey({ dpop, onTokens: (token) => void stored.push(token) });
    await before.getAgent(agent.id);
    const { access_token: accessToken, refresh_token: refreshToken } = stored[0]!;
    await using after = new AgentAuthClient({ baseUrl: worker.url, accessToken, refreshToken, dpop });
    expect((await after.getAgent(agent.id)).agent.agent_id).toBe(agent.id);
    await after.refreshToken();
    expect(await status(after.proxy("lab")("/things/1"))).toBe(200);
    const swapped = { privateKey: dpop.keyPair.publicKey, publicKey: dpop.keyPair.privateKey };
    expect(() => withApiKey({ dpop: { keyPair: swapped } })).toThrow(TypeError);
    expect(() => withApiKey({ dpop: { keyPair: { ...dpop.keyPair, publicKey: dpop.keyPair.privateKey } } })).toThrow(
      "public key",
    );
  });

  it("sends a nonce if it is asked for one, and each request once more for that", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() - 3_600_000 });
    await using own = withApiKey({ dpop: true });
    await own.getAgent(agent.id);
    expect(await status(own.proxy("lab")("/things/1"))).toBe(200);
    const [verify, read] = ["POST /agents/verify", `GET /agents/${agent.id}`];
    expect(calls).toEqual([verify, verify, read, "GET /proxy/lab/things/1"]);
    await using late = withApiKey({ dpop: true });
    vi.useRealTimers();
    await late.getAgent(agent.id);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() - 600_000 });
    calls = [];
    // A stream cannot be sent again.
    const stream = new Blob(["{}"]).stream();
    const init = { method: "POST", body: stream, duplex: "half" } as RequestInit;
    expect(await status(late.proxy("lab")("/things/1", init))).toBe(401);
    expect(await status(late.proxy("lab")("/things/1", { method: "POST", body: "{}" }))).toBe(200);
  });

  it("takes no token that is not bound", async () => {
    await using own = withApiKey({ dpop: true, baseUrl: front.url });
    const token = { access_token: agent.token, refresh_token: "x", token_type: "Bearer", expires_in: 60 };
    const answer = { success: true, agent: { agent_id: agent.id }, token };
    front.next({ status: 200, body: JSON.stringify(answer) });
    await expect(own.getAgent(agent.id)).rejects.toMatchObject({ code: "not_agentauth" });
    await using unbound = new AgentAuthClient({ baseUrl: worker.url, accessToken: agent.token, dpop: true });
    await expect(unbound.getAgent(agent.id)).rejects.toThrow(AuthenticationError);
  });
});
