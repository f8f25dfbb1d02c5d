import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterEach, describe, expect, it, vi } from "vitest";
import { verifyAccessToken } from "../../src/client/verify.ts";

/** In workerd, which ends what a request has begun and not awaited, and settles no promise of a request that has ended. */
describe("the SDK's key set in a Worker", () => {
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  const issuer = "https://auth.example.com";
  const keyPair = async (kid: string) => {
    const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
    const jwk = { ...(await exportJWK(publicKey)), kid, alg: "ES256", use: "sig" };
    const token = await new SignJWT({ client_id: "agt_1", scope: "github:issues:read", tier: "free" })
      .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid })
      .setIssuer(issuer)
      .setAudience(issuer)
      .setSubject("agt_1")
      .setJti(kid)
      .setIssuedAt()
      .setExpirationTime("2h")
      .sign(privateKey);
    return { jwk, token };
  };
  const later = (seconds: number) => vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + seconds * 1000 });

  it("waits for the fetch of keys that are due, in one request at a time, and does without it where it fails", async () => {
    expect(navigator.userAgent).toBe("Cloudflare-Workers");
    const key = await keyPair("a");
    const jwksUri = "https://auth.example.com/waits";
    const fetching = vi.spyOn(globalThis, "fetch").mockImplementation(async () => Response.json({ keys: [key.jwk] }));
    const verify = () => verifyAccessToken(key.token, { issuer, jwksUri });
    await verify();
    later(601);
    const held = Promise.withResolvers<Response>();
    fetching.mockImplementation(() => held.promise);
    let waiting = true;
    const first = verify().finally(() => (waiting = false));
    await Promise.all(Array.from({ length: 20 }, verify));
    expect([waiting, fetching.mock.calls.length]).toEqual([true, 2]);
    held.resolve(new Response("down", { status: 503 }));
    expect((await first).agentId).toBe("agt_1");
  });

  it("fetches anew where the request that began to has ended", async () => {
    const [former, next] = [await keyPair("a"), await keyPair("b")];
    const jwksUri = "https://auth.example.com/ended";
    const fetching = vi
      .spyOn(globalThis, "fetch")
      .mockImplementation(async () => Response.json({ keys: [former.jwk] }));
    await verifyAccessToken(former.token, { issuer, jwksUri });
    later(31);
    fetching.mockImplementationOnce(() => new Promise(() => {}));
    void verifyAccessToken(next.token, { issuer, jwksUri });
    await expect.poll(() => fetching.mock.calls.length).toBe(2);
    fetching.mockImplementation(async () => Response.json({ keys: [next.jwk] }));
    expect((await verifyAccessToken(next.token, { issuer, jwksUri })).agentId).toBe("agt_1");
  });
});
