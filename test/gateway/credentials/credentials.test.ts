import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Config } from "../../../src/config/config.ts";
import { getCredential } from "../../../src/gateway/credentials/credentials.ts";
import type { CredentialScheme } from "../../../src/policy/service-definition.ts";
import { loadServices, type Service } from "../../../src/policy/services.ts";

const INSTANCE = "https://mine.my.crm.example";

function serviceWith(credential: CredentialScheme, baseUrl = INSTANCE): Service {
  const { services } = loadServices(
    new Map([["crm-two", { base_url: baseUrl, resources: { leads: ["read"] }, rules: ["GET /leads leads"] }]]),
    {},
  );
  return { ...services.get("crm-two")!, credential };
}

/** The credential of a scheme where these secrets are set. */
function injected(scheme: CredentialScheme | Service, secrets: Record<string, string>, now = 0) {
  const service = "definition" in scheme ? scheme : serviceWith(scheme);
  const secret: Config["secret"] = (name, part) => (name === "crm-two" ? secrets[part] : undefined);
  return getCredential(service, { secret } as Config, { now, waitUntil: () => undefined });
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

  it("or is missed by the name of its secret", async () => {
    const missing = (part: string) => ({ missing: `UPSTREAM_CRM_TWO_${part}` });
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
});

describe("an access token by the client credentials grant (RFC 6749 §4.4)", () => {
  const SECRETS = { CLIENT_ID: "client-id", CLIENT_SECRET: "client-secret-0123456789" };
  const scheme = {
    scheme: "client_credentials",
    tokenUrl: "/services/oauth2/token",
    scope: "api",
    instanceDomain: "my.crm.example",
  } as const;
  let answers: (() => Response | Promise<Response>)[];
  const fetched = vi.fn<(url: string, init: RequestInit) => Promise<Response>>();

  const token =
    (fields: Record<string, unknown> = {}) =>
    () =>
      Response.json({ access_token: `issued-${fetched.mock.calls.length}`, token_type: "Bearer", ...fields });

  beforeEach(() => {
    answers = [];
    fetched.mockReset();
    fetched.mockImplementation(async () => (answers.shift() ?? token())());
    vi.spyOn(globalThis, "fetch").mockImplementation(fetched as never);
  });
  afterEach(() => vi.restoreAllMocks());

  it("is requested as the standard says, and injected", async () => {
    answers = [token({ instance_url: INSTANCE })];
    expect(await injected(scheme, SECRETS)).toMatchObject({
      headers: [["authorization", "Bearer issued-1"]],
      origin: INSTANCE,
      secretEncodings: expect.arrayContaining(["issued-1", SECRETS.CLIENT_SECRET]),
    });
    const [url, init] = fetched.mock.calls[0]!;
    expect(url).toBe(`${INSTANCE}/services/oauth2/token`);
    expect(init).toMatchObject({ method: "POST", redirect: "manual" });
    expect(Object.fromEntries(new URLSearchParams(init.body as string))).toEqual({
      grant_type: "client_credentials",
      client_id: "client-id",
      client_secret: SECRETS.CLIENT_SECRET,
      scope: "api",
    });
  });

  it("is cached until shortly before it expires", async () => {
    const service = serviceWith(scheme);
    answers = [token({ expires_in: 100 })];
    for (const [now, bearer] of [
      [0, "Bearer issued-1"],
      [69_000, "Bearer issued-1"],
      [71_000, "Bearer issued-2"],
    ] as const) {
      expect(await injected(service, SECRETS, now)).toMatchObject({ headers: [["authorization", bearer]] });
    }
  });

  it("is requested once at a time, however many wait", async () => {
    const service = serviceWith(scheme);
    const many = await Promise.all(Array.from({ length: 20 }, () => injected(service, SECRETS)));
    expect(fetched).toHaveBeenCalledTimes(1);
    expect(new Set(many.map((one) => JSON.stringify(one))).size).toBe(1);
  });

  it("is requested anew after the upstream has refused it", async () => {
    const service = serviceWith(scheme);
    const first = await injected(service, SECRETS);
    (first as { invalidate: () => void }).invalidate();
    expect(await injected(service, SECRETS)).toMatchObject({ headers: [["authorization", "Bearer issued-2"]] });
  });

  it("is not requested if a token is set", async () => {
    expect(await injected(scheme, { TOKEN: "fixed" })).toMatchObject({ headers: [["authorization", "Bearer fixed"]] });
    expect(fetched).not.toHaveBeenCalled();
  });

  it.each([
    "https://evil.example",
    "https://my.crm.example.evil.example",
    "https://evilmy.crm.example",
    "https://my.crm.example",
    "http://other.my.crm.example",
    "https://other.my.crm.example:8443",
    "https://user@evil.example/.my.crm.example",
    "https://evil.example\\.my.crm.example",
    "javascript:alert(1)",
    "not a url",
    7,
  ])("is sent to no instance outside its domain: %s", async (instance) => {
    answers = [token({ instance_url: instance })];
    expect(await injected(scheme, SECRETS)).toEqual({
      failed: "the token endpoint named an instance outside its domain",
    });
  });

  it("is sent to the instance that its answer names", async () => {
    answers = [token({ instance_url: "https://other.my.crm.example" })];
    expect(await injected(scheme, SECRETS)).toMatchObject({ origin: "https://other.my.crm.example" });
    answers = [token({ instance_url: "https://other.my.crm.example" })];
    const { instanceDomain: _, ...without } = scheme;
    expect(await injected(without, SECRETS)).toMatchObject({ origin: INSTANCE });
  });

  it("is requested twice if the endpoint fails, and once if it refuses", async () => {
    const broken = () => new Response("down", { status: 503 });
    answers = [broken, token()];
    expect(await injected(scheme, SECRETS)).toHaveProperty("headers");
    answers = [broken, () => Promise.reject(new Error("unreachable"))];
    expect(await injected(scheme, SECRETS)).toEqual({ failed: "the token endpoint could not be reached" });
    fetched.mockClear();
    answers = [() => Response.json({ error: "invalid_client" }, { status: 401 })];
    expect(await injected(scheme, SECRETS)).toEqual({ failed: "the token endpoint answered 401" });
    expect(fetched).toHaveBeenCalledTimes(1);
  });

  it.each([
    [{ access_token: undefined }, "the token endpoint sent no token"],
    [{ access_token: "two\nlines" }, "the token endpoint sent no token"],
    [{ token_type: "mac" }, "the token endpoint sent a token that is no Bearer"],
  ])("is none in the answer %j", async (fields, failed) => {
    answers = [token(fields)];
    expect(await injected(scheme, SECRETS)).toEqual({ failed });
  });
});
