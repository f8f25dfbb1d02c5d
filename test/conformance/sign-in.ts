import { expect } from "vitest";
import { atLeast, call, exactly, isError } from "./client.ts";
import type { Check, Endpoint } from "./contract.ts";

/** A request as the deployment's own pages send it: they are at its issuer, and on this machine at localhost. */
async function fromOwnPage(path: string, json: object = {}): ReturnType<typeof call> {
  const { body } = await call("GET", "/.well-known/oauth-authorization-server");
  const page = new URL(body.issuer);
  if (page.hostname === "127.0.0.1") page.hostname = "localhost";
  return call("POST", path, { json, headers: { origin: page.origin, "x-agentauth-console": "1" } });
}

/** What a page of somebody else's sends is refused; in development as of a host that is none of its own. */
async function refusesOthers(path: string, json: object = {}): Promise<void> {
  const headers = { origin: "https://somebody.example", "x-agentauth-console": "1" };
  expect([403, 421]).toContain((await call("POST", path, { json, headers })).status);
  isError(await call("POST", path, { json }), 403, "cross_origin");
}

const hasOidc = async (): Promise<boolean> => (await call("GET", "/sign-in/methods")).body.methods.includes("oidc");

export const signInEndpoints = {
  async "GET /sign-in/methods"() {
    const answer = await call("GET", "/sign-in/methods");
    exactly(answer, 200, "success methods");
    expect(answer.body.methods).toContain("passkey");
  },

  async "POST /sign-in/passkey/options"() {
    await refusesOthers("/sign-in/passkey/options");
    const [one, another] = [
      await fromOwnPage("/sign-in/passkey/options"),
      await fromOwnPage("/sign-in/passkey/options"),
    ];
    atLeast(one, 200, "success options");
    expect(one.body.options).toMatchObject({ userVerification: "required", allowCredentials: [] });
    expect(one.body.options.challenge).not.toBe(another.body.options.challenge);
  },

  async "POST /sign-in/passkey/verify"() {
    const unknown = { id: "AAAA", clientDataJSON: "e30", authenticatorData: "AAAA", signature: "AAAA" };
    await refusesOthers("/sign-in/passkey/verify", unknown);
    isError(await fromOwnPage("/sign-in/passkey/verify"), 400);
    const refused = await fromOwnPage("/sign-in/passkey/verify", unknown);
    isError(refused, 401, "sign_in_refused");
    expect(refused.headers.has("set-cookie")).toBe(false);
  },

  async "POST /sign-in/link"() {
    const json = { token: "x".repeat(43) };
    await refusesOthers("/sign-in/link", json);
    const refused = await fromOwnPage("/sign-in/link", json);
    isError(refused, 404, "link_not_valid");
    expect(refused.headers.has("set-cookie")).toBe(false);
  },

  async "POST /sign-out"() {
    await refusesOthers("/sign-out");
    // Who is not signed in is signed out already.
    exactly(await fromOwnPage("/sign-out"), 200, "success message");
  },

  async "GET /sign-in/oidc"() {
    const answer = await call("GET", "/sign-in/oidc");
    if (await hasOidc()) expect([302, 303]).toContain(answer.status);
    else isError(answer, 404);
  },

  async "GET /sign-in/oidc/callback"() {
    const answer = await call("GET", "/sign-in/oidc/callback?code=x&state=x");
    // Whoever did not begin a login here is led to the page, and signed in by nothing.
    if (await hasOidc()) expect([302, 303]).toContain(answer.status);
    else isError(answer, 404);
    expect(answer.headers.get("set-cookie") ?? "").not.toMatch(/(?:^|, )(?:__Host-)?agentauth(?:-\d+)?=[^;]/);
  },
} satisfies Partial<Record<Endpoint, Check>>;
