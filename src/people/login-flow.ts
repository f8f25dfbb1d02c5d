import type { Role } from "../authority/authority.ts";
import { fromBase64Url, toBase64Url } from "../crypto/base64.ts";
import { hmac } from "../crypto/hmac.ts";
import type { Peppers } from "../crypto/pepper.ts";
import { decodeUtf8 } from "../validation/utf8.ts";

/** What a login at the provider is for. */
export type LoginPurpose =
  | { readonly kind: "sign-in" }
  /** To sign in, and then to enrol a passkey: the provider asks for the proof anew. */
  | { readonly kind: "enrol" }
  /** To bind the login to a person who is signed in, or who has opened an invitation, in this session. */
  | {
      readonly kind: "bind";
      readonly personId: string;
      readonly sessionId: string;
      readonly role: Role;
    };

/** A login at the provider that has begun in one browser. It is kept there, in a cookie, and nowhere else. */
export interface LoginFlow {
  /** The provider that it was begun at: an answer of another one is none to it. */
  readonly issuer: string;
  readonly state: string;
  readonly nonce: string;
  /** The code verifier of PKCE (RFC 7636 §4.1). */
  readonly verifier: string;
  readonly purpose: LoginPurpose;
  /** The hash of the session that the browser has, which ends when somebody signs in. Null: it has none. */
  readonly formerSession: string | null;
}

/** How long a login at the provider may take, in milliseconds. */
export const LOGIN_LIFE_MS = 600_000;

/** A sealed flow is at most this long, in characters. */
const MAX_LENGTH = 4000;

const macOf = (payload: string, secret: string): Promise<Uint8Array> => hmac(secret, "login at the provider", payload);

/** Returns a flow as a text that nobody else can make or change. @param now milliseconds. */
export async function sealFlow(flow: LoginFlow, now: number, [pepper]: Peppers): Promise<string> {
  const json = JSON.stringify({ ...flow, expiresAt: now + LOGIN_LIFE_MS });
  const payload = toBase64Url(new TextEncoder().encode(json));
  return `${payload}.${toBase64Url(await macOf(payload, pepper.secret))}`;
}

/** Returns the flow that {@link sealFlow} made a text of. Undefined for any other text, and after {@link LOGIN_LIFE_MS}. */
export async function openFlow(text: string, now: number, peppers: Peppers): Promise<LoginFlow | undefined> {
  if (text.length > MAX_LENGTH) return undefined;
  const [payload = "", encoded = "", ...rest] = text.split(".");
  const mac = fromBase64Url(encoded);
  if (mac?.length !== 32 || rest.length > 0) return undefined;
  const macs = await Promise.all(peppers.map(({ secret }) => macOf(payload, secret)));
  if (!macs.some((one) => crypto.subtle.timingSafeEqual(one, mac))) return undefined;
  const { expiresAt, ...flow } = JSON.parse(decodeUtf8(fromBase64Url(payload)!)!) as LoginFlow & { expiresAt: number };
  return expiresAt > now ? flow : undefined;
}
