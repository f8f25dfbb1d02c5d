import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { requestAccessToken, type TokenPlan } from "../../../src/gateway/credentials/token-request.ts";
import type { ClientCredentialsScheme, TokenScheme } from "../../../src/policy/service-definition.ts";

const INSTANCE = "https://mine.my.crm.example";
const SECRET = "client-secret-0123456789 &=+é";
const SCHEME = {
  scheme: "client_credentials",
  tokenUrl: "/services/oauth2/token",
  scope: "api",
  instanceDomain: "my.crm.example",
} as const;

let answers: (() => Response | Promise<Response>)[];
const fetched = vi.fn<(url: string, init: RequestInit) => Promise<Response>>();

const token =
  (fields: Record<string, unknown> = {}, init?: ResponseInit) =>
  () =>
    Response.json({ access_token: "issued-token", token_type: "Bearer", ...fields }, init);

beforeEach(() => {
  answers = [];
  fetched.mockReset();
  fetched.mockImplementation(async () => (answers.shift() ?? token())());
  vi.spyOn(globalThis, "fetch").mockImplementation(fetched as never);
});
afterEach(() => vi.restoreAllMocks());

const planOf = (scheme: TokenScheme = SCHEME, more: Partial<TokenPlan> = {}): TokenPlan => ({
  scheme,
  tokenUrl: `${INSTANCE}/services/oauth2/token`,
  origin: INSTANCE,
  clientId: "client id",
  secret: SECRET,
  ...more,
});
const request = (scheme?: TokenScheme) => requestAccessToken(planOf(scheme));
/** The answer to a request whose endpoint answers so. */
function answered(...responses: typeof answers) {
  answers = responses;
  return request();
}

/** The request that was sent: its headers, and the parameters of its body. */
function sent(): { headers: Record<string, string>; form: [string, string][]; body: string } {
  const [, init] = fetched.mock.calls[0]!;
  const body = init.body as string;
  return { headers: init.headers as Record<string, string>, form: [...new URLSearchParams(body)], body };
}

describe("a token request by the client credentials grant (RFC 6749 §4.4)", () => {
  it("has the client's id and secret in the form, and follows no redirect", async () => {
    expect(await request()).toEqual({ token: "issued-token", origin: INSTANCE, lifetimeMs: 600_000 });
    const [url, init] = fetched.mock.calls[0]!;
    expect(url).toBe(`${INSTANCE}/services/oauth2/token`);
    expect(init).toMatchObject({ method: "POST", redirect: "manual", cache: "no-store" });
    expect(sent().form).toEqual([
      ["grant_type", "client_credentials"],
      ["client_id", "client id"],
      ["client_secret", SECRET],
      ["scope", "api"],
    ]);
  });

  it("has them in Basic, encoded as a form (§2.3.1), and then nowhere else", async () => {
    await request({ ...SCHEME, authMethod: "client_secret_basic" });
    const { headers, body } = sent();
    const [, encoded = ""] = headers.authorization!.split(" ");
    expect(atob(encoded)).toBe("client+id:client-secret-0123456789+%26%3D%2B%C3%A9");
    expect(body).toBe("grant_type=client_credentials&scope=api");
  });

  it("has an audience, resources and the operator's own parameters", async () => {
    const resource = ["https://a.example", "https://b.example"];
    const more: Partial<ClientCredentialsScheme> = { audience: "aud", resource, parameters: { tenant: "t 1" } };
    await request({ ...SCHEME, ...more });
    expect(sent().form.slice(4)).toEqual([
      ["audience", "aud"],
      ["resource", "https://a.example"],
      ["resource", "https://b.example"],
      ["tenant", "t 1"],
    ]);
  });

  it("is JSON where the endpoint wants JSON", async () => {
    await request({ ...SCHEME, body: "json", audience: "aud", resource: ["https://a.example", "https://b.example"] });
    expect(sent().headers["content-type"]).toBe("application/json");
    expect(JSON.parse(sent().body)).toEqual({
      grant_type: "client_credentials",
      client_id: "client id",
      client_secret: SECRET,
      scope: "api",
      audience: "aud",
      resource: ["https://a.example", "https://b.example"],
    });
  });
});

describe("the response of a token endpoint", () => {
  it.each([
    ["100", 100],
    [100.5, 100.5],
    [undefined, 600],
    [null, 600],
    [0, 0],
    [-5, 0],
    ["", 0],
    ["soon", 0],
    [{}, 0],
    [1e12, 86_400],
    ["Infinity", 86_400],
  ])("with expires_in %j is good for %d seconds", async (expires_in, seconds) => {
    expect(await answered(token({ expires_in }))).toMatchObject({ lifetimeMs: seconds * 1000 });
  });

  it.each(["bearer", "BEARER", "BearerToken", "bearer_token", null])("may call its type %j", async (token_type) => {
    expect(await answered(token({ token_type }, { status: 201 }))).toHaveProperty("token");
  });

  it.each([
    [{ access_token: undefined }, "the token endpoint sent no token"],
    [
      { access_token: undefined, error: "bad_verification_code" },
      "the token endpoint sent no token: bad_verification_code",
    ],
    [{ access_token: "two\r\nlines: x" }, "the token endpoint sent no token"],
    [{ access_token: "" }, "the token endpoint sent no token"],
    [{ token_type: "mac" }, "the token endpoint sent a token that is no Bearer"],
  ])("has no token in %j", async (fields, failed) => {
    expect(await answered(token(fields))).toEqual({ failed });
  });

  it("is asked for a second time if the endpoint fails, and once if it refuses", async () => {
    const broken = () => new Response("down", { status: 503 });
    expect(await answered(broken, token())).toHaveProperty("token");
    expect(await answered(broken, () => Promise.reject(new Error("no route to 10.0.0.1")))).toEqual({
      failed: "the token endpoint could not be reached",
    });
    fetched.mockClear();
    const refused = Response.json({ error: "invalid_client", error_description: "unknown client" }, { status: 401 });
    expect(await answered(() => refused)).toEqual({
      failed: "the token endpoint answered 401: invalid_client: unknown client",
    });
    expect(fetched).toHaveBeenCalledTimes(1);
  });

  it("is told to the operator without control characters, and cut", async () => {
    const error = { error: "bad\r\n\u001b[31mrequest", error_description: "x".repeat(5000) };
    const { failed } = (await answered(() => Response.json(error, { status: 400 }))) as { failed: string };
    expect(failed).toMatch(/^the token endpoint answered 400: bad \[31mrequest: x+…$/);
    expect(failed.length).toBeLessThan(400);
  });

  it.each([
    ["as it is", SECRET],
    ["as a form", new URLSearchParams({ a: SECRET }).toString()],
    ["in base64", btoa(`client+id:${new URLSearchParams([["", SECRET]]).toString().slice(1)}`)],
    ["behind what is cut", `${"x".repeat(5000)}${SECRET}`],
  ])("is withheld if it contains the secret: %s", async (_, error_description) => {
    expect(await answered(() => Response.json({ error: "e", error_description }, { status: 400 }))).toEqual({
      failed: "the token endpoint answered 400 (its reason contains a secret, and is withheld)",
    });
  });

  it("may be a page, a redirect, or longer than a token response is", async () => {
    expect(await answered(() => new Response("<html>", { headers: { "content-type": "text/html" } }))).toEqual({
      failed: "the token endpoint answered 200 with something else than a JSON object",
    });
    expect(
      await answered(() => new Response(null, { status: 302, headers: { location: "https://x.example" } })),
    ).toEqual({ failed: expect.stringContaining("answered 302, a redirect, which is not followed") });
    const long = () => Response.json({ access_token: "t", padding: "x".repeat(70_000) });
    expect(await answered(long, long)).toEqual({ failed: "the token endpoint answered more than 64 KB" });
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
  ])("names no instance outside its domain: %s", async (instance_url) => {
    expect(await answered(token({ instance_url }))).toEqual({
      failed: "the token endpoint named an instance outside its domain",
    });
  });

  it("names the instance that the token is sent to, if the service has such a domain", async () => {
    const other = token({ instance_url: "https://other.my.crm.example" });
    expect(await answered(other)).toMatchObject({ origin: "https://other.my.crm.example" });
    answers = [other];
    const { instanceDomain: _, ...without } = SCHEME;
    expect(await request(without)).toMatchObject({ origin: INSTANCE });
  });
});
