import {
  ClientDataType,
  coseAlgorithmES256,
  coseAlgorithmEdDSA,
  coseAlgorithmRS256,
  coseEllipticCurveEd25519,
  coseEllipticCurveP256,
  COSEKeyType,
  parseAttestationObject,
  parseAuthenticatorData,
  parseClientDataJSON,
  type AuthenticatorData,
  type COSEPublicKey,
} from "@oslojs/webauthn";
import { MAX_RSA_BITS, MIN_RSA_BITS } from "../agents/public-key.ts";
import { toBase64Url } from "../crypto/base64.ts";

/** The algorithms of passkeys that are accepted, in the order of preference, as COSE numbers them (RFC 9053). */
export const ALGORITHMS: readonly number[] = [coseAlgorithmES256, coseAlgorithmEdDSA, coseAlgorithmRS256];

/** Where passkeys are used: WebAuthn calls it the relying party. */
export interface RelyingParty {
  /** The host name of the origin, without its port. */
  readonly id: string;
  readonly origin: string;
}

/** A public key as it is stored. */
export interface PublicKey {
  readonly alg: number;
  readonly jwk: JsonWebKey;
}

/** What a browser returns for `navigator.credentials.get`. */
export interface Assertion {
  /** The credential's id in base64url. */
  readonly id: string;
  readonly clientDataJSON: Uint8Array<ArrayBuffer>;
  readonly authenticatorData: Uint8Array<ArrayBuffer>;
  readonly signature: Uint8Array<ArrayBuffer>;
}

/** What a browser returns for `navigator.credentials.create`. */
export interface Attestation {
  readonly clientDataJSON: Uint8Array<ArrayBuffer>;
  readonly attestationObject: Uint8Array<ArrayBuffer>;
}

/**
 * Returns the challenge that an answer is for, without checking anything else.
 *
 * @returns base64url, or undefined if the answer is of another ceremony, another origin, or a frame of another origin.
 */
export function challengeOf(
  clientDataJSON: Uint8Array,
  ceremony: "get" | "create",
  { origin }: RelyingParty,
): string | undefined {
  try {
    const data = parseClientDataJSON(clientDataJSON);
    const wanted = ceremony === "get" ? ClientDataType.Get : ClientDataType.Create;
    if (data.type !== wanted || data.origin !== origin || data.crossOrigin) return undefined;
    return toBase64Url(data.challenge);
  } catch {
    return undefined;
  }
}

/**
 * Verifies the signature of an assertion, and that the person was verified on the device
 * (https://www.w3.org/TR/webauthn-3/#sctn-verifying-assertion). Its challenge and its origin are checked by {@link challengeOf}.
 *
 * @returns the signature counter, or undefined if the assertion is not one of this key.
 */
export async function verifyAssertion(
  { clientDataJSON, authenticatorData, signature }: Assertion,
  { alg, jwk }: PublicKey,
  party: RelyingParty,
): Promise<number | undefined> {
  const data = readAuthenticatorData(() => parseAuthenticatorData(authenticatorData), party);
  const sign = data && toSignature(signature, alg);
  const algorithm = ALGORITHM_NAMES[alg];
  if (!data || !sign || !algorithm) return undefined;
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", clientDataJSON));
  const key = await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["verify"]);
  const message = new Uint8Array([...authenticatorData, ...hash]);
  return (await crypto.subtle.verify(algorithm, key, sign, message)) ? data.signatureCounter : undefined;
}

/** A passkey that a browser has just made. */
export interface NewPasskey {
  /** base64url. */
  readonly credentialId: string;
  readonly publicKey: PublicKey;
  readonly counter: number;
}

/** Credential ids are at most this long (https://www.w3.org/TR/webauthn-3/#credential-id), in bytes. */
const MAX_CREDENTIAL_ID_LENGTH = 1023;

/**
 * Reads a new passkey, and checks that the person was verified on the device and that its key is one of {@link ALGORITHMS}. The
 * attestation is not looked at: which make of authenticator it is decides nothing.
 *
 * @returns undefined for anything else.
 */
export async function readNewPasskey(
  { attestationObject }: Attestation,
  party: RelyingParty,
): Promise<NewPasskey | undefined> {
  const data = readAuthenticatorData(() => parseAttestationObject(attestationObject).authenticatorData, party);
  const credential = data?.credential;
  if (!data || !credential || credential.id.length === 0 || credential.id.length > MAX_CREDENTIAL_ID_LENGTH) {
    return undefined;
  }
  const publicKey = await toPublicKey(credential.publicKey);
  if (!publicKey) return undefined;
  return { credentialId: toBase64Url(credential.id), publicKey, counter: data.signatureCounter };
}

function readAuthenticatorData(parse: () => AuthenticatorData, { id }: RelyingParty): AuthenticatorData | undefined {
  try {
    const data = parse();
    return data.verifyRelyingPartyIdHash(id) && data.userPresent && data.userVerified ? data : undefined;
  } catch {
    return undefined;
  }
}

const ALGORITHM_NAMES: Readonly<Record<number, SubtleCryptoImportKeyAlgorithm & SubtleCryptoSignAlgorithm>> = {
  [coseAlgorithmES256]: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  [coseAlgorithmEdDSA]: { name: "Ed25519" },
  [coseAlgorithmRS256]: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
};

async function toPublicKey(key: COSEPublicKey): Promise<PublicKey | undefined> {
  try {
    const alg = key.algorithm();
    const jwk = toJwk(key, alg);
    const algorithm = ALGORITHM_NAMES[alg];
    if (!jwk || !algorithm) return undefined;
    // A point that is not on the curve is refused here.
    await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["verify"]);
    return { alg, jwk };
  } catch {
    return undefined;
  }
}

function toJwk(key: COSEPublicKey, alg: number): JsonWebKey | undefined {
  const type = key.type();
  if (alg === coseAlgorithmES256 && type === COSEKeyType.EC2) {
    const { curve, x, y } = key.ec2();
    if (curve !== coseEllipticCurveP256) return undefined;
    return { kty: "EC", crv: "P-256", x: toBase64Url(toBytes(x, 32)), y: toBase64Url(toBytes(y, 32)) };
  }
  if (alg === coseAlgorithmEdDSA && type === COSEKeyType.OKP) {
    const { curve, x } = key.okp();
    return curve === coseEllipticCurveEd25519 ? { kty: "OKP", crv: "Ed25519", x: toBase64Url(x) } : undefined;
  }
  if (alg === coseAlgorithmRS256 && type === COSEKeyType.RSA) {
    const { n, e } = key.rsa();
    const bits = n.toString(2).length;
    if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS) return undefined;
    return { kty: "RSA", n: toBase64Url(toBytes(n)), e: toBase64Url(toBytes(e)) };
  }
  return undefined;
}

/** A number as big-endian bytes. @param length its bytes; by default as many as it needs. */
function toBytes(value: bigint, length?: number): Uint8Array {
  const hex = value.toString(16);
  const padded = hex.padStart(length === undefined ? hex.length + (hex.length % 2) : length * 2, "0");
  return Uint8Array.from(padded.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}

/** WebCrypto reads an ECDSA signature as `r` and `s` side by side (IEEE P1363), and authenticators write it in DER (RFC 3279 §2.2.3). */
function toSignature(signature: Uint8Array<ArrayBuffer>, alg: number): Uint8Array<ArrayBuffer> | undefined {
  if (alg !== coseAlgorithmES256) return signature;
  if (signature[0] !== 0x30 || signature[1] !== signature.length - 2) return undefined;
  const raw = new Uint8Array(64);
  let at = 2;
  for (const end of [32, 64]) {
    const length = signature[at + 1];
    if (signature[at] !== 0x02 || length === undefined || length === 0) return undefined;
    let digits = signature.subarray(at + 2, at + 2 + length);
    if (digits.length !== length) return undefined;
    if (digits.length === 33 && digits[0] === 0) digits = digits.subarray(1);
    if (digits.length > 32) return undefined;
    raw.set(digits, end - digits.length);
    at += 2 + length;
  }
  return at === signature.length ? raw : undefined;
}
