import { toBase64Url } from "../../src/crypto/base64.ts";

/** The flags of an assertion in which the person is present and verified. */
const PRESENT_AND_VERIFIED = 0x05;
const HAS_CREDENTIAL = 0x40;

/** What differs from what a browser and an authenticator of good faith would do. */
export interface Twist {
  readonly origin?: string;
  readonly rpId?: string;
  readonly flags?: number;
  readonly type?: string;
  readonly crossOrigin?: boolean;
  /** Another authenticator with the same key counts for itself. */
  readonly counter?: number;
}

/** An authenticator as software: it makes one passkey (ES256), and answers challenges with it as a browser would pass them on. */
export class Authenticator {
  readonly origin: string;
  readonly id = toBase64Url(crypto.getRandomValues(new Uint8Array(16)));
  counter = 0;
  #keys: CryptoKeyPair | undefined;

  constructor(origin = "https://auth.example.com") {
    this.origin = origin;
  }

  async #keyPair(): Promise<CryptoKeyPair> {
    this.#keys ??= (await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
      "sign",
    ])) as CryptoKeyPair;
    return this.#keys;
  }

  /** Answers the options of `navigator.credentials.create`. */
  async create(options: { challenge: string; rp: { id: string } }, twist: Twist = {}) {
    const { publicKey } = await this.#keyPair();
    const jwk = (await crypto.subtle.exportKey("jwk", publicKey)) as JsonWebKey;
    const id = bytesOf(this.id);
    const credential = [...new Uint8Array(16), id.length >> 8, id.length & 255, ...id, ...coseKey(jwk)];
    const flags = (twist.flags ?? PRESENT_AND_VERIFIED) | HAS_CREDENTIAL;
    const data = await this.#data(twist.rpId ?? options.rp.id, flags, twist.counter ?? this.counter, credential);
    const attestation = [
      0xa3,
      ...text("fmt"),
      ...text("none"),
      ...text("attStmt"),
      0xa0,
      ...text("authData"),
      ...bytes(data),
    ];
    return {
      clientDataJSON: this.#client("webauthn.create", options.challenge, twist),
      attestationObject: toBase64Url(Uint8Array.from(attestation)),
    };
  }

  /** Answers the options of `navigator.credentials.get`. Each answer has a counter of its own. */
  async get(options: { challenge: string; rpId: string }, twist: Twist = {}) {
    const { privateKey } = await this.#keyPair();
    const counter = twist.counter ?? ++this.counter;
    const data = await this.#data(twist.rpId ?? options.rpId, twist.flags ?? PRESENT_AND_VERIFIED, counter);
    const clientDataJSON = this.#client("webauthn.get", options.challenge, twist);
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytesOf(clientDataJSON)));
    const message = Uint8Array.from([...data, ...hash]);
    const raw = new Uint8Array(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, privateKey, message));
    return {
      id: this.id,
      clientDataJSON,
      authenticatorData: toBase64Url(data),
      signature: toBase64Url(derOf(raw)),
    };
  }

  /** The header of a request that is repeated with a confirmation. */
  async confirm(options: { challenge: string; rpId: string }, twist: Twist = {}): Promise<string> {
    return toBase64Url(new TextEncoder().encode(JSON.stringify(await this.get(options, twist))));
  }

  #client(type: string, challenge: string, twist: Twist): string {
    const client = {
      type: twist.type ?? type,
      challenge,
      origin: twist.origin ?? this.origin,
      crossOrigin: twist.crossOrigin ?? false,
    };
    return toBase64Url(new TextEncoder().encode(JSON.stringify(client)));
  }

  async #data(rpId: string, flags: number, counter: number, credential: number[] = []): Promise<Uint8Array> {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(rpId)));
    const count = [counter >>> 24, (counter >> 16) & 255, (counter >> 8) & 255, counter & 255];
    return Uint8Array.from([...hash, flags, ...count, ...credential]);
  }
}

const bytesOf = (base64url: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(base64url.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));

/** CBOR of a short text (RFC 8949 §3.1). */
const text = (value: string): number[] => [0x60 + value.length, ...new TextEncoder().encode(value)];
/** CBOR of bytes. */
const bytes = (value: Uint8Array): number[] => [0x59, value.length >> 8, value.length & 255, ...value];
/** A COSE key on P-256 for ES256 (RFC 9053 §7.1.1). */
const coseKey = ({ x, y }: JsonWebKey): number[] => {
  const head = [0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
  return [...head, ...bytesOf(x!), 0x22, 0x58, 0x20, ...bytesOf(y!)];
};

/** The DER of an ECDSA signature (RFC 3279 §2.2.3), as authenticators write it. */
function derOf(raw: Uint8Array): Uint8Array {
  const integer = (half: Uint8Array): number[] => {
    const first = half.findIndex((byte) => byte !== 0);
    const digits = [...half.subarray(first)];
    if (digits[0]! & 0x80) digits.unshift(0);
    return [0x02, digits.length, ...digits];
  };
  const content = [...integer(raw.subarray(0, 32)), ...integer(raw.subarray(32))];
  return Uint8Array.from([0x30, content.length, ...content]);
}
