import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT, type JWTPayload } from "jose";
import { Provider } from "oidc-provider";

/** The company's OpenID provider in tests, and others that it is not. */
export interface OidcServers {
  /** A real provider. */
  readonly issuer: string;
  /** Another real provider, of somebody else, which says of its people what it likes. */
  readonly other: string;
  /** A provider that does what the rest of its path says: `{odd}/{twist}` is an issuer. See `TWISTS`. */
  readonly odd: string;
  readonly clientId: string;
  readonly clientSecret: string;
  close(): void;
}

const CLIENT_ID = "agentauth-of-tests";
const CLIENT_SECRET = "a secret of the tests/+&= with odd characters";

/** Claims by subject: those of the last login. */
const people = new Map<string, Record<string, unknown>>();

async function startProvider(redirectUris: readonly string[]): Promise<{ issuer: string; close(): void }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: CLIENT_ID,
        client_secret: CLIENT_SECRET,
        redirect_uris: redirectUris,
        response_types: ["code"],
        grant_types: ["authorization_code"],
        // Its redirect URI is of this machine.
        application_type: "native",
      },
    ],
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    claims: { openid: ["sub"], email: ["email"], profile: ["name", "roles"] },
    conformIdTokenClaims: false,
    interactions: { url: (_: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    findAccount: (_: unknown, id: string) => ({ accountId: id, claims: () => ({ sub: id, ...people.get(id) }) }),
    cookies: { keys: ["of the tests"] },
    ttl: { Session: 3600, Grant: 3600, Interaction: 600, AccessToken: 600, IdToken: 600 },
  });
  const answer = provider.callback();

  /** Somebody signs in, and consents, at once: who they are, and what the provider says of them, is in the cookie `who`. */
  async function interact(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const who = /(?:^|; )who=([\w-]+)/.exec(request.headers.cookie ?? "")?.[1];
    if (who === undefined) {
      return provider.interactionFinished(request, response, {
        error: "access_denied",
        error_description: "nobody is there",
      });
    }
    const { subject, claims } = JSON.parse(Buffer.from(who, "base64url").toString());
    people.set(subject, claims);
    const { params } = await provider.interactionDetails(request, response);
    const grant = new provider.Grant({ accountId: subject, clientId: params.client_id });
    grant.addOIDCScope("openid email profile");
    const result = { login: { accountId: subject }, consent: { grantId: await grant.save() } };
    return provider.interactionFinished(request, response, result);
  }

  server.on("request", (request, response) => {
    if (!request.url?.startsWith("/interaction/")) return answer(request, response);
    interact(request, response).catch((cause: unknown) => response.writeHead(500).end(String(cause)));
  });
  return { issuer, close: () => void (server.closeAllConnections(), server.close()) };
}

const without = (claims: JWTPayload, name: string): JWTPayload =>
  Object.fromEntries(Object.entries(claims).filter(([one]) => one !== name));

/** What the provider of a twist says in an ID token, instead of what it should. */
const CLAIMS: Record<string, (claims: JWTPayload) => JWTPayload> = {
  good: (claims) => claims,
  nonce: (claims) => ({ ...claims, nonce: "another" }),
  "no-nonce": (claims) => without(claims, "nonce"),
  aud: (claims) => ({ ...claims, aud: "another client" }),
  azp: (claims) => ({ ...claims, aud: [CLIENT_ID, "another client"], azp: "another client" }),
  iss: (claims) => ({ ...claims, iss: "https://another.example" }),
  expired: (claims) => ({ ...claims, iat: claims.iat! - 7200, exp: claims.iat! - 3600 }),
  "no-sub": (claims) => without(claims, "sub"),
  "long-sub": (claims) => ({ ...claims, sub: "x".repeat(256) }),
  "odd-sub": (claims) => ({ ...claims, sub: "sub\u0000ject" }),
  "number-sub": (claims) => ({ ...claims, sub: 7 as never }),
  "auth-time": (claims) => ({ ...claims, auth_time: "now" }),
  "old-auth": (claims) => ({ ...claims, auth_time: claims.iat! - 3600 }),
  "future-auth": (claims) => ({ ...claims, auth_time: claims.iat! + 3600 }),
  "no-auth": (claims) => without(claims, "auth_time"),
  "role-list": (claims) => ({ ...claims, roles: ["everyone", "auditor"] }),
  "role-case": (claims) => ({ ...claims, roles: "Admin" }),
  "role-object": (claims) => ({ ...claims, roles: { admin: true, toString: "admin" } }),
  "role-part": (claims) => ({ ...claims, roles: ["administrator", "admin ", "not-admin"] }),
};

/** What the odd provider does at the path of a request, or with its ID token, by the first segment of its issuer's path. */
function startOdd(): Promise<{ issuer: string; close(): void }> {
  const keys = generateKeyPair("ES256");
  const others = generateKeyPair("ES256");
  async function answer(request: IncomingMessage, response: ServerResponse, origin: string): Promise<void> {
    const url = new URL(request.url ?? "/", origin);
    const [, twist = "", ...rest] = url.pathname.split("/");
    const issuer = `${origin}/${twist}`;
    const what = rest.at(-1);
    const json = (value: unknown, status = 200) =>
      void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
    if (twist === "hang") return;
    if (twist === "gone") return void response.writeHead(404).end("gone");
    if (twist === "html") return void response.writeHead(200, { "content-type": "text/html" }).end("<p>");
    if (twist === "redirect")
      return void response.writeHead(302, { location: `${origin}/good/${rest.join("/")}` }).end();
    if (twist === "reset") return void request.socket.destroy();
    if (twist === "huge") {
      response.writeHead(200, { "content-type": "application/json" });
      response.write(`{"issuer":"${"x".repeat(300_000)}`);
      return void response.end('"}');
    }
    if (what === "openid-configuration") {
      return json({
        issuer: twist === "misnamed" ? `${origin}/good` : twist === "slash" ? `${issuer}/` : issuer,
        authorization_endpoint: `${issuer}/authorize`,
        ...(twist !== "no-token" && { token_endpoint: `${issuer}/token` }),
        jwks_uri: `${issuer}/jwks`,
        response_types_supported: ["code"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["ES256"],
        authorization_response_iss_parameter_supported: true,
        ...(twist === "post" && { token_endpoint_auth_methods_supported: ["client_secret_post"] }),
      });
    }
    if (what === "jwks") {
      if (twist === "no-keys") return json({ keys: [] });
      return json({ keys: [{ ...(await exportJWK((await keys).publicKey)), kid: "one", alg: "ES256", use: "sig" }] });
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const form = new URLSearchParams(Buffer.concat(chunks).toString());
    if (twist === "spent") return json({ error: "invalid_grant" }, 400);
    if (twist === "client") return json({ error: "invalid_client" }, 401);
    if (twist === "post" && form.get("client_secret") !== CLIENT_SECRET) return json({ error: "invalid_client" }, 401);
    if (twist === "token-500") return void response.writeHead(500).end("oops");
    // The test gives the nonce and the subject as the code.
    const [nonce = "", subject = "alice"] = (form.get("code") ?? "").split("~");
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: issuer, sub: subject, aud: CLIENT_ID, iat: now, exp: now + 600, nonce, auth_time: now };
    const payload = CLAIMS[twist]?.(claims) ?? claims;
    const { privateKey } = await (twist === "forged" ? others : keys);
    const signed = await new SignJWT(payload).setProtectedHeader({ alg: "ES256", kid: "one" }).sign(privateKey);
    const [head, body] = signed.split(".");
    const none = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${body}.`;
    const idToken = twist === "unsigned" ? `${head}.${body}.` : twist === "alg-none" ? none : signed;
    json({ access_token: "x", token_type: "Bearer", ...(twist !== "no-id-token" && { id_token: idToken }) });
  }
  return new Promise((resolve) => {
    const server = createServer((request, response) => {
      const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      answer(request, response, origin).catch(() => response.destroy());
    });
    server.listen(0, "127.0.0.1", () => {
      const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      resolve({ issuer, close: () => void (server.closeAllConnections(), server.close()) });
    });
  });
}

/** @param origins of the deployments that people sign in to. */
export async function startOidcServers(origins: readonly string[]): Promise<OidcServers> {
  const redirectUris = origins.map((origin) => `${origin}/sign-in/oidc/callback`);
  const [own, other, odd] = await Promise.all([startProvider(redirectUris), startProvider(redirectUris), startOdd()]);
  return {
    issuer: own.issuer,
    other: other.issuer,
    odd: odd.issuer,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    close: () => [own, other, odd].forEach((one) => one.close()),
  };
}
