import { base64url } from "jose";
import { hmac } from "../crypto/hmac.ts";
import { findPepper, type Pepper, type Peppers } from "../crypto/pepper.ts";
import { toHex } from "../crypto/random.ts";

/**
 * A refresh token: `rt_` and, in base64url, the format (1 byte), the id of the pepper and the id of the session (each with a byte
 * before it that is its length), the generation (4 bytes, big-endian), a secret of 32 bytes, and 16 bytes of a MAC over all of that.
 *
 * The secret of a session's first generation is random, and that of every other is derived from the token before it with the pepper.
 * A token so has exactly one successor for a pepper, and a repeated refresh gets the same response although nothing is stored in plain
 * text. The MAC shows that a token was issued here without asking the database: whoever knows a session's id, which access tokens
 * contain, cannot make an older generation and end the session with it.
 */
export interface RefreshToken {
  readonly sessionId: string;
  /** From 1. A token of the former format that was converted is generation 0. */
  readonly generation: number;
  readonly pepperId: string;
  readonly text: string;
  /** What is stored of it. */
  readonly hash: string;
}

const FORMAT = 1;
const SECRET_BYTES = 32;
const MAC_BYTES = 16;
const MAX_ID_LENGTH = 64;
const MAX_GENERATION = 0xffff_ffff;

/** Each use of the pepper has its own purpose, so that a value made for one is never valid for another. */
const MAC = "session-token-mac";
const HASH = "session-token";
const NEXT = "session-token-next";

interface Parts {
  readonly sessionId: string;
  readonly generation: number;
  readonly secret: Uint8Array;
}

/** The first refresh token of a session. */
export const firstRefreshToken = (sessionId: string, pepper: Pepper): Promise<RefreshToken> =>
  issue({ sessionId, generation: 1, secret: crypto.getRandomValues(new Uint8Array(SECRET_BYTES)) }, pepper);

/**
 * The successor of a refresh token under a pepper.
 *
 * @param previous of which `text` and `generation` count; the text may be of the former format.
 */
export async function nextRefreshToken(
  previous: Pick<RefreshToken, "sessionId" | "generation" | "text">,
  pepper: Pepper,
): Promise<RefreshToken> {
  const { sessionId, generation, text } = previous;
  const secret = await hmac(pepper.secret, NEXT, text);
  return issue({ sessionId, generation: Math.min(generation + 1, MAX_GENERATION), secret }, pepper);
}

/** A refresh token that was issued here, by its text; undefined for any other text. Reads no store. */
export async function readRefreshToken(text: string, peppers: Peppers): Promise<RefreshToken | undefined> {
  const bytes = decode(text);
  const parsed = bytes && parse(bytes);
  const pepper = parsed && findPepper(peppers, parsed.pepperId);
  if (!pepper) return undefined;
  const mac = await macOf(bytes.subarray(0, -MAC_BYTES), pepper);
  if (!crypto.subtle.timingSafeEqual(mac, bytes.subarray(-MAC_BYTES))) return undefined;
  return { ...parsed, text, hash: await hashOf(text, pepper) };
}

async function issue({ sessionId, generation, secret }: Parts, pepper: Pepper): Promise<RefreshToken> {
  const encoder = new TextEncoder();
  const [pepperId, session] = [encoder.encode(pepper.id), encoder.encode(sessionId)];
  const number = new Uint8Array(4);
  new DataView(number.buffer).setUint32(0, generation);
  const body = Uint8Array.from([
    FORMAT,
    pepperId.length,
    ...pepperId,
    session.length,
    ...session,
    ...number,
    ...secret,
  ]);
  const text = `rt_${base64url.encode(Uint8Array.from([...body, ...(await macOf(body, pepper))]))}`;
  return { sessionId, generation, pepperId: pepper.id, text, hash: await hashOf(text, pepper) };
}

const macOf = async (body: Uint8Array, pepper: Pepper): Promise<Uint8Array> =>
  (await hmac(pepper.secret, MAC, base64url.encode(body))).subarray(0, MAC_BYTES);

const hashOf = async (text: string, pepper: Pepper): Promise<string> =>
  base64url.encode(await hmac(pepper.secret, HASH, text));

/** The bytes of a text in the one spelling that base64url has for them. */
function decode(text: string): Uint8Array | undefined {
  if (!/^rt_[\w-]{80,300}$/.test(text)) return undefined;
  const encoded = text.slice(3);
  try {
    const bytes = base64url.decode(encoded);
    return base64url.encode(bytes) === encoded ? bytes : undefined;
  } catch {
    return undefined;
  }
}

/** Reads exactly the whole of the bytes. The ids are ASCII letters, digits, `-` and `_`. */
function parse(bytes: Uint8Array): Pick<RefreshToken, "sessionId" | "generation" | "pepperId"> | undefined {
  let at = 1;
  const readId = (): string | undefined => {
    const length = bytes[at] ?? 0;
    const id = String.fromCharCode(...bytes.subarray(at + 1, at + 1 + length));
    at += 1 + length;
    return length > 0 && length <= MAX_ID_LENGTH && /^[\w-]+$/.test(id) ? id : undefined;
  };
  const pepperId = readId();
  const sessionId = readId();
  if (bytes[0] !== FORMAT || pepperId === undefined || sessionId === undefined) return undefined;
  if (bytes.length !== at + 4 + SECRET_BYTES + MAC_BYTES) return undefined;
  return { pepperId, sessionId, generation: new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0) };
}

/** The form of a refresh token of the former format: 32 bytes, which named nothing. */
export const isFormerRefreshToken = (text: string): boolean => /^rt_[\w-]{43}$/.test(text);

/** What a former version derived from a refresh token with the pepper. */
export interface FormerDerivation {
  /** The part that is stored, in hexadecimal. */
  readonly hash: string;
  readonly successor: string;
}

/** Derives the stored hash and the successor of a refresh token of the former format. */
export async function deriveFormerSuccessor(text: string, pepper: Pepper): Promise<FormerDerivation> {
  const mac = await hmac(pepper.secret, "refresh-token", text, "SHA-512");
  return { hash: toHex(mac.subarray(0, 32)), successor: `rt_${base64url.encode(mac.subarray(32))}` };
}
