import { createLocalJWKSet, decodeProtectedHeader, jwtVerify, type JSONWebKeySet } from "jose";
import { describe, expect, it } from "vitest";
import { KeyStepError, promote, publish, retire, type KeySet } from "../../scripts/key-set.ts";
import { testEnv, world, type World } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const [old, fresh] = (JSON.parse(testEnv().SIGNING_KEYS) as KeySet).keys as [{ kid: string }, { kid: string }];
const deployment = (keys: KeySet): World => world({ SIGNING_KEYS: JSON.stringify(keys) });

async function reach(where: World, token: string): Promise<{ status: number; code?: string }> {
  const { status, body } = await where.call("/proxy/lab/things/1", { token });
  return { status, code: body.code };
}

const kidOf = (token: string) => decodeProtectedHeader(token).kid;
const keysOf = async (where: World) => (await where.call("/.well-known/jwks.json")).body as JSONWebKeySet;

describe("replacing the signing key", () => {
  it("ends no token and refuses none on the way, however old and new Workers stand side by side", SLOW, async () => {
    const before: KeySet = { keys: [old] };
    const first = deployment(before);
    const early = await first.agent();
    expect(kidOf(early.token)).toBe(old.kid);

    const published = publish(before, fresh);
    const second = deployment(published);
    const between = await second.agent();
    expect(kidOf(between.token)).toBe(old.kid);
    expect((await keysOf(second)).keys.map(({ kid }) => kid)).toEqual([old.kid, fresh.kid]);
    // A verifier elsewhere, that fetched the keys here and keeps them.
    const verifier = createLocalJWKSet(await keysOf(second));

    const promoted = promote(published);
    const third = deployment(promoted);
    const late = await third.agent();
    expect(kidOf(late.token)).toBe(fresh.kid);
    await expect(jwtVerify(late.token, verifier)).resolves.toBeDefined();
    for (const { token } of [early, between, late]) {
      expect(await reach(second, token)).toMatchObject({ status: 200 });
      expect(await reach(third, token)).toMatchObject({ status: 200 });
    }

    const fourth = deployment(retire(promoted));
    expect(await reach(fourth, late.token)).toMatchObject({ status: 200 });
    expect(await reach(fourth, early.token)).toEqual({ status: 401, code: "invalid_token" });
    expect((await keysOf(fourth)).keys.map(({ kid }) => kid)).toEqual([fresh.kid]);
    expect(JSON.stringify(await keysOf(third))).not.toContain('"d"');
  });

  it("takes its steps in their order only", () => {
    const one: KeySet = { keys: [old] };
    expect(() => promote(one)).toThrow(KeyStepError);
    expect(() => retire(one)).toThrow(KeyStepError);
    const published = publish(one, fresh);
    expect(() => publish(published, old)).toThrow("promote the published one next");
    expect(() => retire(published)).toThrow("promote the published one next");
    const promoted = promote(published);
    expect(() => promote(promoted)).toThrow("retire the old one next");
    expect(() => publish(promoted, old)).toThrow("retire the old one next");
    expect(retire(promoted).keys).toEqual([fresh]);
  });
});
