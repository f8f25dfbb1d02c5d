import { importPKCS8, SignJWT } from "jose";
import { fromBase64, toBase64 } from "../../crypto/base64.ts";
import type { AssertionAlgorithm } from "../../policy/service-definition.ts";

/** The algorithm identifier of an RSA key (RFC 8017 §A.1), behind version 0 (RFC 5208 §5). */
const RSA_HEADER = [
  0x02, 0x01, 0x00, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/** What to do about a key in another form, by the label of its PEM (RFC 7468). */
const FAULTS: Readonly<Record<string, string>> = {
  "EC PRIVATE KEY":
    "is an EC key in the form of SEC 1. Convert it with `openssl pkcs8 -topk8 -nocrypt -in KEY.pem`, and set the result",
  "ENCRYPTED PRIVATE KEY":
    "is encrypted with a passphrase. Decrypt it with `openssl pkcs8 -in KEY.pem`, and set the result",
};

/**
 * Returns a private key as PKCS#8 in PEM, which WebCrypto imports, or what is wrong with it as the end of a sentence.
 *
 * @param text PKCS#8 (`PRIVATE KEY`), or PKCS#1 (`RSA PRIVATE KEY`) as GitHub gives it. Line breaks may be written as `\n`, as in the JSON
 *   file of a Google service account.
 */
export function toPkcs8(text: string): { pem: string } | { fault: string } {
  const pem = /^-----BEGIN ([A-Z0-9 ]+)-----\s([^-]*)-----END \1-----$/.exec(text.replaceAll("\\n", "\n").trim());
  if (!pem) return { fault: "is not one private key in PEM, from its BEGIN line to its END line" };
  const [, label = "", body = ""] = pem;
  if (label !== "PRIVATE KEY" && label !== "RSA PRIVATE KEY") {
    return { fault: FAULTS[label] ?? `is a ${label}, and not a private key` };
  }
  if (/:/.test(body))
    return { fault: "is encrypted with a passphrase. Decrypt it with `openssl rsa -in KEY.pem`, and set the result" };
  const base64 = body.replace(/\s/g, "");
  if (!/^[A-Za-z0-9+/]{32,}={0,2}$/.test(base64) || base64.length % 4 !== 0) {
    return { fault: "is not complete: the text between its BEGIN and its END line is not base64" };
  }
  const der = label === "PRIVATE KEY" ? base64 : toBase64(wrapRsaKey(fromBase64(base64)));
  return { pem: `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----` };
}

/** Returns the PKCS#8 form of an RSA key in PKCS#1 (RFC 5208 §5): its bytes behind an algorithm identifier. */
function wrapRsaKey(pkcs1: Uint8Array): Uint8Array {
  const key = [0x04, ...lengthOf(pkcs1.length)];
  const inner = RSA_HEADER.length + key.length + pkcs1.length;
  return Uint8Array.from([0x30, ...lengthOf(inner), ...RSA_HEADER, ...key, ...pkcs1]);
}

/** Returns a length in DER (X.690 §8.1.3). */
function lengthOf(length: number): number[] {
  if (length < 0x80) return [length];
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest >>>= 8) bytes.unshift(rest & 0xff);
  return [0x80 | bytes.length, ...bytes];
}

/** Returns what is wrong with a key for an algorithm, as the end of a sentence, or undefined if it can sign. */
export async function keyFault(pem: string, algorithm: AssertionAlgorithm): Promise<string | undefined> {
  try {
    await signAssertion({ pem, algorithm, issuer: "-", audience: "-", now: 0 });
    return undefined;
  } catch {
    // The error of the runtime may quote its input.
    return `is no key for ${algorithm}: it must be ${algorithm.startsWith("E") ? "an EC key of its curve" : "an RSA key of at least 2048 bits"}`;
  }
}

/** The issuer's clock may be ahead of the endpoint's. GitHub's documentation recommends a minute. In seconds. */
const BACKDATED_SECONDS = 60;
/** An assertion is used at once. Salesforce accepts at most 3 minutes, GitHub 10. In seconds. */
const LIFETIME_SECONDS = 120;

export interface Assertion {
  /** The private key as PKCS#8 in PEM. */
  readonly pem: string;
  readonly algorithm: AssertionAlgorithm;
  readonly keyId?: string | undefined;
  readonly issuer: string;
  readonly audience?: string | undefined;
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * Returns a signed JWT (RFC 7523 §3).
 *
 * @throws {Error} if the key cannot sign with the algorithm.
 */
export async function signAssertion(assertion: Assertion): Promise<string> {
  const { pem, algorithm, keyId, issuer, audience, claims = {}, now } = assertion;
  const seconds = Math.floor(now / 1000);
  const jwt = new SignJWT({ ...claims })
    .setProtectedHeader({ alg: algorithm, typ: "JWT", ...(keyId !== undefined && { kid: keyId }) })
    .setIssuer(issuer)
    .setIssuedAt(seconds - BACKDATED_SECONDS)
    .setExpirationTime(seconds + LIFETIME_SECONDS);
  if (audience !== undefined) jwt.setAudience(audience).setJti(crypto.randomUUID());
  return jwt.sign(await importPKCS8(pem, algorithm));
}
