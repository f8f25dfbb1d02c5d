/** A key of WebCrypto. Derived, because not every platform's types have the name. */
export type SigningKey = Extract<Awaited<ReturnType<typeof crypto.subtle.generateKey>>, { type: string }>;

/** A private key as a JWK (RFC 7517): EC P-256, Ed25519, or RSA with its `alg`, `RS256` or `PS256`. */
export interface PrivateJwk {
  readonly kty: string;
  readonly kid?: string | undefined;
  readonly alg?: string | undefined;
  readonly [member: string]: unknown;
}

/** How WebCrypto imports a key of each algorithm, and signs with it (RFC 7518 §3, RFC 8037). */
const ALGORITHMS = {
  ES256: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  EdDSA: { name: "Ed25519" },
  RS256: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
  PS256: { name: "RSA-PSS", hash: "SHA-256", saltLength: 32 },
} as const;
type Algorithm = keyof typeof ALGORITHMS;

const BY_TYPE: Partial<Record<string, string>> = { EC: "ES256", OKP: "EdDSA" };

/** Says what a key must be, and nothing of the key. */
const unusable = (): TypeError =>
  new TypeError("The key is no private key of ES256, EdDSA, RS256 or PS256. A JWK of RSA needs its alg.");

/** Signs with one key. */
interface Signer {
  readonly alg: Algorithm;
  /** @returns a JWT (RFC 7519) with these members in its header beside `alg`. */
  sign(header: object, payload: object): Promise<string>;
}

/**
 * Prepares a private key for signing. A JWK is imported when it is first used, as a key that cannot be read out again.
 *
 * @throws {TypeError} It is no private key of one of the four algorithms. What stands in a JWK is seen when it signs.
 */
export function createSigner(given: SigningKey | PrivateJwk): Signer {
  const alg = "kty" in given ? algorithmOfJwk(given) : algorithmOf(given);
  let importing: Promise<SigningKey> | undefined;
  return {
    alg,
    async sign(header, payload) {
      const key = "kty" in given ? await (importing ??= importJwk(given, alg)) : given;
      const text = [{ alg, ...header }, payload].map((part) => toBase64Url(utf8(JSON.stringify(part)))).join(".");
      return `${text}.${toBase64Url(await crypto.subtle.sign(ALGORITHMS[alg], key, utf8(text)))}`;
    },
  };
}

function algorithmOfJwk({ kty, alg = BY_TYPE[kty], d }: PrivateJwk): Algorithm {
  const named = alg?.replace("Ed25519", "EdDSA") as Algorithm;
  if (!d || !Object.hasOwn(ALGORITHMS, named)) throw unusable();
  return named;
}

async function importJwk(jwk: PrivateJwk, alg: Algorithm): Promise<SigningKey> {
  // What a key is said to be for matters where it is kept, and WebCrypto would refuse some of it.
  const { alg: _alg, use: _use, key_ops: _operations, ext: _extractable, ...members } = jwk;
  return crypto.subtle.importKey("jwk", members as JsonWebKey, ALGORITHMS[alg], false, ["sign"]).catch(() => {
    throw unusable();
  });
}

function algorithmOf({ algorithm, type }: SigningKey): Algorithm {
  if (type !== "private") throw unusable();
  const { name, namedCurve, hash } = algorithm as { name: string; namedCurve?: string; hash?: { name: string } };
  for (const alg of Object.keys(ALGORITHMS) as Algorithm[]) {
    const one: { name: string; namedCurve?: string; hash?: string } = ALGORITHMS[alg];
    // ECDSA chooses the hash with each signature, so its keys have none.
    const isSame =
      one.name === name &&
      (name === "Ed25519" || (one.namedCurve ? one.namedCurve === namedCurve : one.hash === hash?.name));
    if (isSame) return alg;
  }
  throw unusable();
}

const utf8 = (text: string) => new TextEncoder().encode(text);

const toBase64Url = (bytes: ArrayBuffer | Uint8Array): string =>
  btoa(String.fromCharCode(...new Uint8Array(bytes)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

/** The SHA-256 hash of a text in base64url, as `ath` of a DPoP proof has it (RFC 9449 §4.2). */
export const hashOf = async (text: string): Promise<string> =>
  toBase64Url(await crypto.subtle.digest("SHA-256", utf8(text)));

/** 128 random bits. `crypto.randomUUID` is missing in pages that were not loaded over https. */
export const randomId = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
