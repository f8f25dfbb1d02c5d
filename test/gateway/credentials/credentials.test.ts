import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { Config } from "../../../src/config/config.ts";
import { getCredential } from "../../../src/gateway/credentials/credentials.ts";
import type { CredentialScheme } from "../../../src/policy/service-definition.ts";
import { loadServices, type Service } from "../../../src/policy/services.ts";
import { containsSecret } from "../../../src/gateway/upstream/secret-leak.ts";

const INSTANCE = "https://mine.my.crm.example";

function serviceWith(credential: CredentialScheme, baseUrl = INSTANCE): Service {
  const { services } = loadServices(
    new Map([["crm-two", { base_url: baseUrl, resources: { leads: ["read"] }, rules: ["GET /leads leads"] }]]),
    {},
  );
  return { ...services.get("crm-two")!, credential };
}

/** The credential of a scheme where these secrets are set. */
function injected(scheme: CredentialScheme, secrets: Record<string, string>) {
  const secret: Config["secret"] = (name, part) => (name === "crm-two" ? secrets[part] : undefined);
  const context = { env, now: 0, waitUntil: () => undefined };
  return getCredential(serviceWith(scheme), { secret, dataKeys: [] }, context);
}

/** Whether an agent would not get an answer with this text. */
async function isSearched(text: string, scheme: CredentialScheme, secrets: Record<string, string>): Promise<boolean> {
  const credential = await injected(scheme, secrets);
  if (!("secretEncodings" in credential)) throw new Error(JSON.stringify(credential));
  return containsSecret(`{"created_by": "${text}"}`, credential.secretEncodings);
}

describe("a credential goes in", () => {
  it("as a Bearer", async () => {
    expect(await injected({ scheme: "bearer" }, { TOKEN: "t" })).toMatchObject({
      headers: [["authorization", "Bearer t"]],
      origin: INSTANCE,
    });
  });

  it("as Basic, in UTF-8, with what belongs behind the user's name", async () => {
    const basic = { scheme: "basic", usernameSuffix: "/token", orBearer: true } as const;
    const encoded = (text: string) => [["authorization", `Basic ${btoa(text)}`]];
    expect(await injected({ scheme: "basic" }, { USERNAME: "u", TOKEN: "p" })).toMatchObject({
      headers: encoded("u:p"),
    });
    expect(await injected(basic, { USERNAME: "a@b.c", TOKEN: "p" })).toMatchObject({
      headers: encoded("a@b.c/token:p"),
    });
    expect(await injected(basic, { USERNAME: "a@b.c/token", TOKEN: "p" })).toMatchObject({
      headers: encoded("a@b.c/token:p"),
    });
    expect(await injected(basic, { TOKEN: "p" })).toMatchObject({ headers: [["authorization", "Bearer p"]] });
    expect(await injected({ scheme: "basic" }, { USERNAME: "ü", TOKEN: "p" })).toMatchObject({
      headers: [["authorization", "Basic w7w6cA=="]],
    });
  });

  it("as a header of the upstream's own, or several", async () => {
    expect(await injected({ scheme: "header", name: "x-api-key", prefix: "Key " }, { TOKEN: "t" })).toMatchObject({
      headers: [["x-api-key", "Key t"]],
    });
    const several = { scheme: "headers", headers: { "x-key": "TOKEN", "x-app": "CLIENT_ID" } } as const;
    expect(await injected(several, { TOKEN: "t".repeat(20), CLIENT_ID: "public-client-id" })).toMatchObject({
      headers: [
        ["x-key", "t".repeat(20)],
        ["x-app", "public-client-id"],
      ],
      secretEncodings: expect.not.arrayContaining(["public-client-id"]),
    });
    expect(await injected({ scheme: "none" }, {})).toMatchObject({ headers: [], secretEncodings: [] });
  });

  it("as a key that is the user name, with an empty password", async () => {
    const scheme = { scheme: "basic", tokenAs: "username" } as const;
    const key = "sk_live_0123456789";
    expect(await injected(scheme, { TOKEN: `${key}\n` })).toMatchObject({
      headers: [["authorization", `Basic ${btoa(`${key}:`)}`]],
    });
    expect(await isSearched(key, scheme, { TOKEN: key })).toBe(true);
    expect(await isSearched(btoa(`${key}:`), scheme, { TOKEN: key })).toBe(true);
  });

  it("as a parameter of the query, and in no header", async () => {
    const key = "key with &= and ü";
    expect(await injected({ scheme: "query", name: "api_key" }, { TOKEN: key })).toMatchObject({
      headers: [],
      parameter: { name: "api_key", value: key },
    });
    expect(await isSearched(encodeURIComponent(key), { scheme: "query", name: "api_key" }, { TOKEN: key })).toBe(true);
  });

  it("with a user name that no agent gets, unless it is an e-mail address or said to be public", async () => {
    const secrets = { USERNAME: "0123456789abcdef", TOKEN: "x" };
    expect(await isSearched("0123456789abcdef", { scheme: "basic" }, secrets)).toBe(true);
    expect(await isSearched(btoa("0123456789abcdef:x"), { scheme: "basic" }, secrets)).toBe(true);
    expect(await isSearched("0123456789abcdef", { scheme: "basic", publicUsername: true }, secrets)).toBe(false);
    const mail = { USERNAME: "support@example.com", TOKEN: "0123456789" };
    expect(await isSearched("support@example.com", { scheme: "basic" }, mail)).toBe(false);
    const headers = { scheme: "headers", headers: { a: "USERNAME", b: "TOKEN" } } as const;
    expect(await isSearched("0123456789abcdef", headers, secrets)).toBe(true);
  });

  it("or is missed by the name of its setting, with what to do", async () => {
    const missing = (part: string) => ({
      setting: `UPSTREAM_CRM_TWO_${part}`,
      fault: `is not set. Set it with \`wrangler secret put UPSTREAM_CRM_TWO_${part}\``,
    });
    const bearer = { scheme: "jwt_bearer", tokenUrl: "/token" } as const;
    expect(await injected(bearer, {})).toEqual(missing("CLIENT_ID"));
    expect(await injected(bearer, { CLIENT_ID: "i" })).toEqual(missing("PRIVATE_KEY"));
    expect(await injected({ scheme: "query", name: "k" }, { TOKEN: " " })).toEqual(missing("TOKEN"));
    const grant = { scheme: "client_credentials", tokenUrl: "/token" } as const;
    expect(await injected({ scheme: "bearer" }, {})).toEqual(missing("TOKEN"));
    expect(await injected({ scheme: "header", name: "x" }, {})).toEqual(missing("TOKEN"));
    expect(await injected({ scheme: "basic" }, { TOKEN: "t" })).toEqual(missing("USERNAME"));
    expect(await injected({ scheme: "headers", headers: { a: "TOKEN", b: "CLIENT_ID" } }, { TOKEN: "t" })).toEqual(
      missing("CLIENT_ID"),
    );
    expect(await injected(grant, {})).toEqual(missing("CLIENT_ID"));
    expect(await injected(grant, { CLIENT_ID: "i" })).toEqual(missing("CLIENT_SECRET"));
  });

  it("or is refused, with the name of its setting, if it cannot be sent", async () => {
    expect(await injected({ scheme: "bearer" }, { TOKEN: "two\nlines" })).toMatchObject({
      setting: "UPSTREAM_CRM_TWO_TOKEN",
      fault: expect.stringContaining("a line break"),
    });
    expect(
      await injected({ scheme: "headers", headers: { a: "TOKEN", b: "USERNAME" } }, { TOKEN: "t", USERNAME: "ü" }),
    ).toMatchObject({ setting: "UPSTREAM_CRM_TWO_USERNAME" });
    expect(await injected({ scheme: "basic" }, { USERNAME: "a:b", TOKEN: "t" })).toMatchObject({
      setting: "UPSTREAM_CRM_TWO_USERNAME",
      fault: expect.stringContaining("colon"),
    });
    const app = { scheme: "github_app", installationId: "7" } as const;
    expect(
      await injected(app, {
        CLIENT_ID: "1",
        PRIVATE_KEY: "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
      }),
    ).toEqual({ setting: "UPSTREAM_CRM_TWO_PRIVATE_KEY", fault: "is a PUBLIC KEY, and not a private key" });
  });
});
