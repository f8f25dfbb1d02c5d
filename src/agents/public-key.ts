import { fromBase64Url } from "../crypto/base64.ts";
import { randomBase62 } from "../crypto/random.ts";
import { thumbprintOf } from "../crypto/thumbprint.ts";

/** The algorithms that an agent's key may sign with. Each key is pinned to one of them (RFC 8725 §3.1). */
export const KEY_ALGORITHMS = ["ES256", "EdDSA", "RS256", "PS256"] as const;
export type KeyAlgorithm = (typeof KEY_ALGORITHMS)[number];

/** The names that each algorithm may have in the header of a JWS: RFC 9864 names EdDSA by its curve. */
const SPELLINGS: Readonly<Record<KeyAlgorithm, readonly string[]>> = {
  ES256: ["ES256"],
  EdDSA: ["EdDSA", "Ed25519"],
  RS256: ["RS256"],
  PS256: ["PS256"],
};

/** The names that an algorithm may have in the header of a JWS. */
export const spellingsOf = (algorithm: KeyAlgorithm): readonly string[] => SPELLINGS[algorithm];

/** Every name of every algorithm, for the metadata. */
export const SIGNATURE_ALGORITHMS: readonly string[] = [...KEY_ALGORITHMS, "Ed25519"];

/** A public key of an agent (RFC 7517, RFC 7518 §6, RFC 8037 §2), with nothing in it but what verifies a signature. */
export type PublicJwk = { readonly kid: string; readonly alg: KeyAlgorithm } & (
  | { readonly kty: "EC"; readonly crv: "P-256"; readonly x: string; readonly y: string }
  | { readonly kty: "OKP"; readonly crv: "Ed25519"; readonly x: string }
  | { readonly kty: "RSA"; readonly n: string; readonly e: string }
);

/** A JWK as a client sends it. The members that it need not have are null or absent. */
export interface ReceivedJwk {
  readonly kty: string;
  readonly crv?: string | null | undefined;
  readonly x?: string | null | undefined;
  readonly y?: string | null | undefined;
  readonly n?: string | null | undefined;
  readonly e?: string | null | undefined;
  readonly alg?: string | null | undefined;
  readonly kid?: string | null | undefined;
  readonly use?: string | null | undefined;
  readonly key_ops?: readonly string[] | null | undefined;
}

/** What is wrong with a member of a JWK, as the end of a sentence that begins with its name. */
export interface JwkFault {
  readonly member: string;
  readonly message: string;
}

/** RSA keys below this are not safe (RFC 7518 §3.3), and above the other one cost too much to verify. Bits. */
export const MIN_RSA_BITS = 2048;
export const MAX_RSA_BITS = 4096;

/** The exponent 65537, which every library makes. */
const RSA_EXPONENT = "AQAB";

/** How WebCrypto imports a key for each algorithm. */
const IMPORT = {
  ES256: { name: "ECDSA", namedCurve: "P-256" },
  EdDSA: { name: "Ed25519" },
  RS256: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
  PS256: { name: "RSA-PSS", hash: "SHA-256" },
} as const satisfies Readonly<Record<KeyAlgorithm, object>>;

/**
 * Reads a public key that an agent registers. It is pinned to one algorithm: that of its `alg`, or the only one that its type has.
 * Without a `kid` it gets its thumbprint (RFC 7638).
 *
 * @returns the key, rebuilt from the members that count, or what is wrong with it.
 */
export async function readPublicJwk(received: ReceivedJwk): Promise<{ jwk: PublicJwk } | { fault: JwkFault }> {
  const { use, key_ops: operations } = received;
  if (use != null && use !== "sig") return fault("use", 'must be "sig", or be left out');
  if (operations != null && operations.join() !== "verify")
    return fault("key_ops", 'must be ["verify"], or be left out');
  const parts = readParts(received);
  if ("fault" in parts) return parts;
  const algorithm = pinAlgorithm(received, parts.algorithms);
  if (typeof algorithm !== "string") return algorithm;
  const kid = received.kid ?? (await thumbprintOf(parts.members));
  const jwk = { ...parts.members, kid, alg: algorithm } as PublicJwk;
  try {
    await importPublicJwk(jwk);
  } catch {
    return fault("kty", "is of a key that cannot be used: its members are not those of a public key");
  }
  return { jwk };
}

/** Imports a key that {@link readPublicJwk} has accepted, to verify signatures. */
export function importPublicJwk({ alg, ...members }: PublicJwk): Promise<CryptoKey> {
  return crypto.subtle.importKey("jwk", members as JsonWebKey, IMPORT[alg], false, ["verify"]);
}

/** A public key as it is stored: recognizable by an id and the last characters of its `kid`. */
export interface StoredPublicKey {
  readonly id: string;
  readonly jwk: PublicJwk;
  readonly hint: string;
}

/** The stored form of a public key, with a new id. */
export const toStoredPublicKey = (jwk: PublicJwk): StoredPublicKey => ({
  id: `key_${randomBase62(24)}`,
  jwk,
  hint: jwk.kid.slice(-4),
});

const fault = (member: string, message: string): { fault: JwkFault } => ({ fault: { member, message } });

type Members =
  | { kty: "EC"; crv: "P-256"; x: string; y: string }
  | { kty: "OKP"; crv: "Ed25519"; x: string }
  | { kty: "RSA"; n: string; e: string };

type Parts = { members: Members; algorithms: readonly KeyAlgorithm[] } | { fault: JwkFault };

function readParts({ kty, crv, x, y, n, e }: ReceivedJwk): Parts {
  switch (kty) {
    case "EC":
      if (crv !== "P-256") return fault("crv", 'must be "P-256" for a key of type EC');
      if (!isCoordinate(x)) return fault("x", "must be 32 bytes in base64url");
      if (!isCoordinate(y)) return fault("y", "must be 32 bytes in base64url");
      return { members: { kty, crv, x, y }, algorithms: ["ES256"] };
    case "OKP":
      if (crv !== "Ed25519") return fault("crv", 'must be "Ed25519" for a key of type OKP');
      if (!isCoordinate(x)) return fault("x", "must be 32 bytes in base64url");
      return { members: { kty, crv, x }, algorithms: ["EdDSA"] };
    case "RSA": {
      const bits = bitsOf(fromBase64Url(n ?? ""));
      if (n == null || bits < MIN_RSA_BITS || bits > MAX_RSA_BITS) {
        return fault("n", `must be a modulus of ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits in base64url`);
      }
      if (e !== RSA_EXPONENT) return fault("e", `must be "${RSA_EXPONENT}", which is 65537`);
      return { members: { kty, n, e }, algorithms: ["RS256", "PS256"] };
    }
    default:
      return fault("kty", 'must be "EC", "OKP" or "RSA"');
  }
}

function pinAlgorithm({ alg }: ReceivedJwk, algorithms: readonly KeyAlgorithm[]): KeyAlgorithm | { fault: JwkFault } {
  const [only, ...others] = algorithms;
  if (alg == null) return others.length === 0 ? only! : fault("alg", `must be one of ${algorithms.join(", ")}`);
  return (
    algorithms.find((one) => spellingsOf(one).includes(alg)) ??
    fault("alg", `must be ${algorithms.join(" or ")} for this key`)
  );
}

/** Whether a text is base64url of 32 bytes: a coordinate of either curve (RFC 7518 §6.2.1.2, RFC 8037 §2). */
const isCoordinate = (text: string | null | undefined): text is string =>
  text != null && fromBase64Url(text)?.length === 32;

/** The length of a number; 0 for none. A zero byte before it is one spelling too many (RFC 7518 §2, Base64urlUInt). */
function bitsOf(bytes: Uint8Array | undefined): number {
  const [first = 0] = bytes ?? [];
  return first === 0 ? 0 : bytes!.length * 8 - Math.clz32(first) + 24;
}
