// @module-tag slow
import { auth, ClientCredentialsProvider, PrivateKeyJwtProvider } from "@modelcontextprotocol/client";
import * as dpop from "dpop";
import { exportJWK, type CryptoKey } from "jose";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readPage } from "./support/markdown.ts";
import { startWorker, type Agent, type Worker } from "./support/worker.ts";

/** Others' clients, which know nothing of AgentAuth: each is given the issuer, an agent's id, and its key. */
let worker: Worker;
let admin: Agent;
let agent: Agent;
let issuer: URL;
let pair: { publicKey: CryptoKey; privateKey: CryptoKey };
beforeAll(async () => {
  worker = await startWorker();
  [admin, agent] = [await worker.admin(), await worker.agent(["github:issues:read"])];
  issuer = new URL(worker.url);
  pair = await oauth.generateKeyPair("ES256", { extractable: true });
  const jwk = await exportJWK(pair.publicKey);
  await worker.call(`/agents/${agent.id}/keys`, { method: "POST", token: agent.token, json: { jwk } });
});
afterAll(() => worker.stop());

const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";

const HTTP = { [oauth.allowInsecureRequests]: true } as const;

/** The status of a call with a token, to an endpoint that only its agent has. */
const useAtRest = async (token: string) => (await worker.call(`/agents/${agent.id}`, { token })).status;

describe("docs/oauth.md", () => {
  const page = readPage("docs/oauth.md");
  const folder = mkdtempSync(join(tmpdir(), "agentauth-oauth-doc-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Runs a block of the page as a reader would, with this deployment in the place of the page's. @returns what it prints. */
  async function runBlock(command: string, args: readonly string[], block: string, cwd = folder): Promise<string> {
    const planner = await worker.agent(["github:issues:read"]);
    const env = {
      ...process.env,
      AGENT_ID: agent.id,
      API_KEY: agent.apiKey,
      TOKEN: agent.token,
      READER_ID: agent.id,
      READER_KEY: agent.apiKey,
      PLANNER_TOKEN: planner.token,
      ID_TOKEN: agent.token,
    };
    const text = block.replaceAll("https://auth.example.com", worker.url);
    return (await promisify(execFile)(command, [...args, text], { cwd, env })).stdout;
  }
  const shell = page.codes("sh");

  it.each([
    [0, { token_type: "Bearer", expires_in: 3600, scope: "github:issues:read" }],
    // A token of this deployment is none of a trusted issuer.
    [2, { error: "invalid_grant", error_description: expect.stringContaining("TRUSTED_ISSUERS") }],
    [3, { token_type: "Bearer", scope: "github:issues:read" }],
  ])("has commands that work: %i", async (index, answer) => {
    expect(JSON.parse(await runBlock("bash", ["-euo", "pipefail", "-c"], shell[index]!))).toMatchObject(answer);
  });

  it("makes a key whose private half only its owner can read, and registers the public one", async () => {
    const { key } = JSON.parse(await runBlock("bash", ["-euo", "pipefail", "-c"], shell[1]!));
    expect(key).toMatchObject({ type: "jwk", expires_at: null });
    const file = join(folder, "private-key.pem");
    expect([readFileSync(file, "utf8"), statSync(file).mode & 0o777]).toEqual([
      expect.stringContaining("BEGIN PRIVATE KEY"),
      0o600,
    ]);
  });

  it("has no other commands", () => expect(shell).toHaveLength(4));

  it("shows a client library", async () => {
    const insecure = '"oauth2", execute: [client.allowInsecureRequests]';
    const program = page.code("js").replace('"oauth2"', insecure);
    const args = ["--input-type=module", "-e"];
    const root = join(import.meta.dirname, "../..");
    expect(await runBlock(process.execPath, args, program, root)).toBe("github:issues:read 3600\n");
  });
});

describe("oauth4webapi", () => {
  async function discover(): Promise<oauth.AuthorizationServer> {
    const response = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...HTTP });
    return oauth.processDiscoveryResponse(issuer, response);
  }
  const client = () => ({ client_id: agent.id });
  const grant = async (
    as: oauth.AuthorizationServer,
    by: oauth.ClientAuth,
    parameters: Record<string, string> = {},
  ) => {
    const response = await oauth.clientCredentialsGrantRequest(as, client(), by, new URLSearchParams(parameters), HTTP);
    return oauth.processClientCredentialsResponse(as, client(), response);
  };

  it.each<[string, () => oauth.ClientAuth]>([
    ["client_secret_basic", () => oauth.ClientSecretBasic(agent.apiKey)],
    ["client_secret_post", () => oauth.ClientSecretPost(agent.apiKey)],
    ["private_key_jwt", () => oauth.PrivateKeyJwt(pair.privateKey)],
  ])("gets, uses, introspects and revokes a token by %s", async (_, by) => {
    const as = await discover();
    const { access_token: token, scope, refresh_token } = await grant(as, by(), { scope: "github:issues:read" });
    expect([scope, refresh_token, await useAtRest(token)]).toEqual(["github:issues:read", undefined, 200]);
    const request = new Request(issuer, { headers: { authorization: `Bearer ${token}` } });
    expect((await oauth.validateJwtAccessToken(as, request, as.issuer, HTTP)).sub).toBe(agent.id);

    const introspect = async () => {
      const [server, secret] = [{ client_id: admin.id }, oauth.ClientSecretBasic(admin.apiKey)];
      const response = await oauth.introspectionRequest(as, server, secret, token, HTTP);
      return oauth.processIntrospectionResponse(as, server, response);
    };
    expect(await introspect()).toMatchObject({ active: true, client_id: agent.id, iss: as.issuer });
    const revoked = await oauth.revocationRequest(as, client(), by(), token, HTTP);
    expect(await oauth.processRevocationResponse(revoked)).toBeUndefined();
    expect([await introspect(), await useAtRest(token)]).toEqual([{ active: false }, 401]);
  });

  it("refreshes a session, and reads the errors and the challenges", async () => {
    const as = await discover();
    const secret = oauth.ClientSecretBasic(agent.apiKey);
    const refresh = async (token: string) => {
      const response = await oauth.refreshTokenGrantRequest(as, client(), secret, token, HTTP);
      return oauth.processRefreshTokenResponse(as, client(), response);
    };
    const first = await refresh(agent.refreshToken);
    expect((await refresh(first.refresh_token!)).refresh_token).not.toBe(first.refresh_token);
    await expect(refresh("rt_guess")).rejects.toMatchObject({ error: "invalid_grant", status: 400 });
    await expect(grant(as, oauth.ClientSecretBasic("wrong"))).rejects.toMatchObject({
      cause: [{ scheme: "basic", parameters: { realm: "agentauth" } }],
    });
    const refused = await oauth
      .protectedResourceRequest("garbage", "GET", new URL("/agents", issuer), undefined, undefined, HTTP)
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({ cause: [{ scheme: "bearer", parameters: { error: "invalid_token" } }] });
  });

  it("gets and uses a token that is bound to a key, and validates it", async () => {
    const as = await discover();
    const DPoP = oauth.DPoP({}, await oauth.generateKeyPair("ES256"));
    const secret = oauth.ClientSecretBasic(agent.apiKey);
    const options = { DPoP, ...HTTP };
    const response = await oauth.clientCredentialsGrantRequest(as, client(), secret, new URLSearchParams(), options);
    const { access_token: token, token_type } = await oauth.processClientCredentialsResponse(as, client(), response);
    expect([token_type, await useAtRest(token)]).toEqual(["dpop", 401]);
    const url = new URL(`/agents/${agent.id}`, issuer);
    expect((await oauth.protectedResourceRequest(token, "GET", url, undefined, undefined, options)).status).toBe(200);

    const keys = await dpop.generateKeyPair("ES256");
    const at = new URL(as.token_endpoint!);
    const headers = { DPoP: await dpop.generateProof(keys, at.href, "POST") };
    const body = new URLSearchParams({ grant_type: "client_credentials" });
    body.set("client_id", agent.id);
    body.set("client_secret", agent.apiKey);
    const bound = (await (await fetch(at, { method: "POST", headers, body })).json()) as { access_token: string };
    const proven = async () => ({
      authorization: `DPoP ${bound.access_token}`,
      DPoP: await dpop.generateProof(keys, url.href, "GET", undefined, bound.access_token),
    });
    expect((await fetch(url, { headers: await proven() })).status).toBe(200);
    const request = new Request(url, { headers: await proven() });
    const claims = await oauth.validateJwtAccessToken(as, request, as.issuer, { requireDPoP: true, ...HTTP });
    expect(claims.cnf).toEqual({ jkt: await dpop.calculateThumbprint(keys.publicKey) });
  });

  it("exchanges a token to act for its agent, uses, introspects and revokes it", async () => {
    const as = await discover();
    const delegator = await worker.agent(["github:issues:read", "github:repos:read"]);
    const parameters = {
      subject_token: delegator.token,
      subject_token_type: ACCESS_TOKEN,
      scope: "github:issues:read",
      resource: `${issuer.origin}/proxy/github`,
    };
    const secret = oauth.ClientSecretBasic(agent.apiKey);
    const exchange = async (more: Record<string, string> = {}) => {
      const all = { ...parameters, ...more };
      const response = await oauth.genericTokenEndpointRequest(as, client(), secret, TOKEN_EXCHANGE, all, HTTP);
      return oauth.processGenericTokenEndpointResponse(as, client(), response);
    };
    const { access_token: token, issued_token_type, scope } = await exchange();
    expect([issued_token_type, scope]).toEqual([ACCESS_TOKEN, "github:issues:read"]);
    const request = new Request(issuer, { headers: { authorization: `Bearer ${token}` } });
    const claims = await oauth.validateJwtAccessToken(as, request, `${issuer.origin}/proxy/github`, HTTP);
    expect([claims.sub, claims.client_id, claims.act]).toEqual([delegator.id, agent.id, { sub: agent.id }]);
    const atService = async () => {
      const { status, body } = await worker.call("/proxy/github/repos/o/r/git/refs", { token });
      return [status, body.code];
    };
    expect([await atService(), await useAtRest(token)]).toEqual([[403, "insufficient_permissions"], 401]);
    await expect(exchange({ scope: "github:repos:read" })).rejects.toMatchObject({ error: "invalid_scope" });
    await expect(exchange({ subject_token: agent.token })).rejects.toMatchObject({ error: "invalid_request" });

    const introspect = async () => {
      const [server, by] = [{ client_id: admin.id }, oauth.ClientSecretBasic(admin.apiKey)];
      const response = await oauth.introspectionRequest(as, server, by, token, HTTP);
      return oauth.processIntrospectionResponse(as, server, response);
    };
    expect(await introspect()).toMatchObject({ active: true, sub: delegator.id, act: { sub: agent.id } });
    const revoked = await oauth.revocationRequest(as, client(), secret, token, HTTP);
    expect(await oauth.processRevocationResponse(revoked)).toBeUndefined();
    expect(await introspect()).toEqual({ active: false });
  });

  it("finds the authorization server from the resource alone", async () => {
    const resource = new URL("/proxy/github", issuer);
    const response = await oauth.resourceDiscoveryRequest(resource, HTTP);
    const metadata = await oauth.processResourceDiscoveryResponse(resource, response);
    expect(metadata.authorization_servers).toEqual([issuer.origin]);
  });
});

describe("openid-client", () => {
  it("gets, introspects and revokes a token for one service", async () => {
    const options = { execute: [openid.allowInsecureRequests], algorithm: "oauth2" as const };
    const config = await openid.discovery(issuer, admin.id, undefined, openid.ClientSecretBasic(admin.apiKey), options);
    const resource = `${issuer.origin}/proxy/github`;
    const tokens = await openid.clientCredentialsGrant(config, { resource, scope: "github:issues:read" });
    expect(tokens).toMatchObject({ token_type: "bearer", scope: "github:issues:read", expires_in: 3600 });
    expect(await openid.tokenIntrospection(config, tokens.access_token)).toMatchObject({
      active: true,
      aud: [resource],
    });
    await openid.tokenRevocation(config, tokens.access_token);
    expect(await openid.tokenIntrospection(config, tokens.access_token)).toEqual({ active: false });
  });

  it("exchanges a token to act for its agent", async () => {
    const options = { execute: [openid.allowInsecureRequests], algorithm: "oauth2" as const };
    const config = await openid.discovery(issuer, admin.id, undefined, openid.ClientSecretBasic(admin.apiKey), options);
    const delegator = await worker.agent(["github:issues:read"]);
    const tokens = await openid.genericGrantRequest(config, TOKEN_EXCHANGE, {
      subject_token: delegator.token,
      subject_token_type: ACCESS_TOKEN,
    });
    expect(tokens).toMatchObject({ issued_token_type: ACCESS_TOKEN, scope: "github:issues:read" });
    const { active, sub, act } = await openid.tokenIntrospection(config, tokens.access_token);
    expect([active, sub, act]).toEqual([true, delegator.id, { sub: admin.id }]);
  });
});

describe("the client of the Model Context Protocol", () => {
  const url = () => `${issuer.origin}/proxy/github`;
  const expectedIssuer = () => issuer.origin;

  it.each(["a secret", "a private key"])(
    "gets a token for the service with %s, from the service's URL alone",
    async (by) => {
      const provider =
        by === "a secret"
          ? new ClientCredentialsProvider({
              clientId: agent.id,
              clientSecret: agent.apiKey,
              expectedIssuer: expectedIssuer(),
            })
          : new PrivateKeyJwtProvider({
              clientId: agent.id,
              privateKey: (await exportJWK(pair.privateKey)) as Record<string, unknown>,
              algorithm: "ES256",
              expectedIssuer: expectedIssuer(),
            });
      expect(await auth(provider, { serverUrl: url() })).toBe("AUTHORIZED");
      const token = provider.tokens()!.access_token;
      // Good for this service, which asks for a permission, and for nothing else.
      const atService = await worker.call("/proxy/github/repos/o/r/git/refs", { token });
      expect([atService.status, atService.body.code]).toEqual([403, "insufficient_permissions"]);
      expect(await useAtRest(token)).toBe(401);
    },
  );
});
