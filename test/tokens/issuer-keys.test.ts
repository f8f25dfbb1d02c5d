import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { TrustedIssuer } from "../../src/config/trusted-issuers.ts";
import { findIssuerKeys } from "../../src/tokens/issuer-keys.ts";
import { newIssuer, newIssuerKey, type Issuer, type IssuerKey } from "../oauth/issuers.ts";

const METADATA = ".well-known/openid-configuration";
const LOAD = [METADATA, "keys"];
const TIMEOUT_MS = 100;
let key: IssuerKey;
beforeAll(async () => void (key = await newIssuerKey("one", "ES256")));
beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"] }));
afterEach(() => void vi.useRealTimers());

const later = (ms: number) => void vi.setSystemTime(Date.now() + ms);
const works: Promise<unknown>[] = [];

/** Finds keys: how many there are, or why there are none. */
async function find({ url }: Issuer, kid: string | undefined = "one", more: Partial<TrustedIssuer> = {}) {
  const issuer = { issuer: url, timeoutMs: 5000, ...more } as TrustedIssuer;
  const found = await findIssuerKeys(issuer, kid, (work) => void works.push(work));
  return "keys" in found ? found.keys.length : found.unavailable.replaceAll(url, "SELF");
}

async function published(): Promise<Issuer> {
  const one = newIssuer();
  await one.publish(key);
  return one;
}

describe("the keys of an issuer", () => {
  it("are fetched once by those who need them at once, also if their client hangs up", async () => {
    const one = await published();
    works.length = 0;
    expect(await Promise.all([find(one), find(one), find(one, undefined), find(one, "two")])).toEqual([1, 1, 1, 0]);
    expect(await one.asked()).toEqual(LOAD);
    expect(works).toHaveLength(1);
  });

  it("are kept for ten minutes", async () => {
    const one = await published();
    await find(one);
    later(599_999);
    expect([await find(one), await one.asked()]).toEqual([1, LOAD]);
    later(1);
    expect([await find(one), await one.asked()]).toEqual([1, [...LOAD, ...LOAD]]);
  });

  it("are fetched again for one that is not among them, once in half a minute", async () => {
    const one = await published();
    await find(one);
    later(29_999);
    expect([await find(one, "two"), await one.asked()]).toEqual([0, LOAD]);
    later(1);
    expect([await find(one, "two"), await one.asked()]).toEqual([0, [...LOAD, ...LOAD]]);
    expect([await find(one, "two"), (await one.asked()).length]).toEqual([0, 4]);
  });

  it("are good for an hour if they cannot be fetched, which is tried every ten seconds, and had again afterwards", async () => {
    const one = await published();
    await find(one);
    await one.serve({});
    later(3_599_999);
    expect([await find(one), (await one.asked()).length]).toEqual([1, 3]);
    later(1);
    expect([await find(one), (await one.asked()).length]).toEqual([`SELF/${METADATA} answers 404.`, 3]);
    await one.publish(key);
    later(9_998);
    expect(await find(one)).toContain("404");
    later(1);
    expect([await find(one), (await one.asked()).length]).toEqual([1, 5]);
    // The failure is over: made-up keys wait for half a minute again.
    later(29_999);
    expect([await find(one, "two"), (await one.asked()).length]).toEqual([0, 5]);
  });

  it("are fetched by another request if the one that fetches them has been away for too long", async () => {
    const one = newIssuer();
    await one.serve({ [METADATA]: { text: "{}", late: 1_000_000 } });
    const more = { timeoutMs: TIMEOUT_MS };
    works.length = 0;
    const first = find(one, "one", more);
    later(2 * TIMEOUT_MS + 1000);
    const second = find(one, "one", more);
    expect(works).toHaveLength(1);
    later(1);
    const third = find(one, "one", more);
    const late = `SELF/${METADATA} does not answer within ${TIMEOUT_MS} ms.`;
    expect(await Promise.all([first, second, third])).toEqual([late, expect.any(String), late]);
    expect(works).toHaveLength(2);
  });

  const metadata = (changes: object = {}) => ({
    [METADATA]: { text: JSON.stringify({ issuer: "SELF", jwks_uri: "SELF/keys", ...changes }) },
  });
  it.each<[string, Parameters<Issuer["serve"]>[0], string]>([
    [
      "are another's",
      metadata({ issuer: "https://evil.example" }),
      `SELF/${METADATA} is the metadata of another issuer.`,
    ],
    ["are of nobody", { [METADATA]: { text: "null" } }, `SELF/${METADATA} is the metadata of another issuer.`],
    ["are nowhere", metadata({ jwks_uri: undefined }), `SELF/${METADATA} has no jwks_uri that is an https URL.`],
    ["are no URL", metadata({ jwks_uri: "keys" }), `SELF/${METADATA} has no jwks_uri that is an https URL.`],
    [
      "are not safe",
      metadata({ jwks_uri: "http://evil.example/" }),
      `SELF/${METADATA} has no jwks_uri that is an https URL.`,
    ],
    ["are no list", { ...metadata(), keys: { text: '{"keys":{}}' } }, "SELF/keys is not a JWK Set."],
    ["are no object", { ...metadata(), keys: { text: "[]" } }, "SELF/keys is not a JWK Set."],
    ["are elsewhere", { ...metadata(), keys: { status: 302, location: "moved" } }, "SELF/keys answers 302."],
    ["are no JSON", { ...metadata(), keys: { text: "<html>" } }, "SELF/keys is not JSON."],
    [
      "are too much",
      { ...metadata(), keys: { text: `{"keys":[]}${" ".repeat(256 * 1024)}` } },
      "SELF/keys has more than 262144 bytes, or is not UTF-8.",
    ],
  ])("that %s are none", async (_, pages, unavailable) => {
    const one = newIssuer();
    await one.serve(pages);
    expect(await find(one)).toBe(unavailable);
  });

  it("do not have those beside them whose members are no texts", async () => {
    const one = newIssuer();
    const { jwk } = key;
    const keys = [{ ...jwk, kid: 1 }, { ...jwk, use: ["sig"] }, { ...jwk, x: null }, null, jwk];
    await one.serve({ ...metadata(), keys: { text: JSON.stringify({ keys }) } });
    expect(await find(one, undefined)).toBe(1);
  });
});
