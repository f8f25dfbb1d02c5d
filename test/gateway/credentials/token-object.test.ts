import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { decryptText, encryptText, type EncryptionKey } from "../../../src/crypto/encryption.ts";
import type { TokenPlan } from "../../../src/gateway/credentials/token-request.ts";

const ORIGIN = "https://api.crm.example";
const PLAN: TokenPlan = {
  scheme: { scheme: "client_credentials", tokenUrl: "/token" },
  tokenUrl: `${ORIGIN}/token`,
  origin: ORIGIN,
  clientId: "client",
  secret: "client-secret-0123456789",
};
const keyNamed = (kid: string): EncryptionKey => ({
  kty: "oct",
  kid,
  k: btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", ""),
});
const [OLD, NEW] = [keyNamed("old"), keyNamed("new")];

const fetched = vi.fn(async () =>
  Response.json({ access_token: "requested-token", token_type: "Bearer", expires_in: 3600 }),
);
beforeEach(() => {
  fetched.mockClear();
  vi.spyOn(globalThis, "fetch").mockImplementation(fetched as never);
});
afterEach(() => vi.restoreAllMocks());

let objects = 0;

/** An object that finds this text stored when it begins. */
async function objectWith(storedFor: (id: string) => Promise<string> | string) {
  const object = env.UPSTREAM_TOKENS.getByName(`object ${++objects}`);
  const boundTo = `upstream token ${object.id.toString()}`;
  const stored = await storedFor(boundTo);
  await runInDurableObject(object, (_instance, { storage }) => storage.put("token", stored));
  const readStored = () => runInDurableObject(object, (_instance, { storage }) => storage.get<string>("token"));
  return { object, boundTo, readStored };
}

const storedToken = () => JSON.stringify({ token: "stored-token", origin: ORIGIN, usableUntil: Date.now() + 600_000 });

describe("a stored token of an upstream", () => {
  it("is served under a key that is no longer the newest", async () => {
    const { object } = await objectWith((boundTo) => encryptText(storedToken(), boundTo, [OLD]));
    expect(await object.getToken({ plan: PLAN, keys: [NEW, OLD] })).toMatchObject({ token: "stored-token" });
    expect(fetched).not.toHaveBeenCalled();
  });

  it.each<[what: string, storedFor: (boundTo: string) => Promise<string> | string]>([
    ["under a key that was removed", (boundTo) => encryptText(storedToken(), boundTo, [OLD])],
    ["of another object", () => encryptText(storedToken(), "upstream token of another", [NEW])],
    ["whose text was changed", async (boundTo) => changed(await encryptText(storedToken(), boundTo, [NEW]))],
    ["that is no JSON", () => "\0"],
  ])(
    "%s is never served: another is requested once, and takes its place under the newest key",
    async (_, storedFor) => {
      const { object, boundTo, readStored } = await objectWith(storedFor);
      for (let call = 0; call < 2; call++) {
        expect(await object.getToken({ plan: PLAN, keys: [NEW] })).toMatchObject({ token: "requested-token" });
      }
      expect(fetched).toHaveBeenCalledTimes(1);
      const text = await decryptText((await readStored())!, boundTo, [NEW], "DATA_KEYS");
      expect(JSON.parse(text)).toMatchObject({ token: "requested-token", origin: ORIGIN });
    },
  );
});

/** Another character in the place of the first of the ciphertext. */
const changed = (encrypted: string): string =>
  encrypted.replace(/"data":"(.)/, (_, first: string) => `"data":"${first === "A" ? "B" : "A"}`);
