import { hmac } from "../crypto/hmac.ts";
import type { Peppers } from "../crypto/pepper.ts";
import { toHex } from "../crypto/random.ts";
import { HOUR_MS } from "../time/lengths.ts";
import type { PersonalChange } from "./change.ts";
import { newCommandSession, type SignInContext } from "./sessions.ts";
import {
  decideDeviceCode,
  insertDeviceCode,
  pollDeviceCode,
  showDeviceCode,
  type PolledCode,
  type WaitingCommand,
} from "./store/device-codes.ts";
import { hashOf, newToken } from "./token.ts";

/** The programs that people may let act for them: public clients (RFC 6749 §2.1), with what a person is told that they are. */
const CLIENTS: Readonly<Record<string, string>> = { "agentauth-cli": "AgentAuth command line" };

/** What a person is told that a client is; undefined for one that is not known. */
export const clientName = (clientId: string): string | undefined =>
  Object.hasOwn(CLIENTS, clientId) ? CLIENTS[clientId] : undefined;

/** How long a code can be typed, in milliseconds. */
const CODE_LIFE_MS = 600_000;
/** How long the session of a command lives, in milliseconds. It is not prolonged by being used. */
const SESSION_LIFE_MS = 8 * HOUR_MS;
/** How often a command asks whether it was let in, in seconds. */
const POLL_SECONDS = 5;
/** How often one code is shown to people who type it. */
const MAX_SHOWN = 10;

/**
 * Letters that are not taken for one another, and that spell no words (RFC 8628 §6.1). Eight of them have 34 bits: of a guess at one of
 * 1,000 commands that wait, one in 25 million succeeds, and only people who are signed in can guess.
 */
const LETTERS = "BCDFGHJKLMNPQRSTVWXZ";
const CODE_LENGTH = 8;

function newUserCode(): string {
  let code = "";
  while (code.length < CODE_LENGTH) {
    // 240 = 12 × 20: a byte above it would favour the first letters.
    for (const byte of crypto.getRandomValues(new Uint8Array(16))) {
      if (byte < 240 && code.length < CODE_LENGTH) code += LETTERS[byte % LETTERS.length];
    }
  }
  return code;
}

/** Reads a code that a person has typed, in any case, with spaces and hyphens anywhere. Undefined for what cannot be one. */
export function readUserCode(text: string): string | undefined {
  const code = text.toUpperCase().replace(/[\s-]/g, "");
  return code.length === CODE_LENGTH && [...code].every((letter) => LETTERS.includes(letter)) ? code : undefined;
}

const userCodeHash = async (code: string, secret: string): Promise<string> =>
  toHex(await hmac(secret, "user code", code));

const userCodeHashes = (code: string, peppers: Peppers): Promise<string[]> =>
  Promise.all(peppers.map(({ secret }) => userCodeHash(code, secret)));

/** What a command is told that waits to be let in. Times are seconds. */
export interface DeviceAuthorization {
  readonly deviceCode: string;
  /** As it is shown: `WDJB-MJHT`. */
  readonly userCode: string;
  readonly expiresIn: number;
  readonly interval: number;
}

/** Begins a device grant (RFC 8628 §3.2). One D1 round trip. */
export async function beginDeviceGrant(
  db: D1Database,
  clientId: string,
  { ipAddress, userAgent }: Pick<SignInContext, "ipAddress" | "userAgent">,
  [pepper]: Peppers,
): Promise<DeviceAuthorization> {
  const deviceCode = newToken("dc_");
  const hash = await hashOf(deviceCode);
  for (;;) {
    const code = newUserCode();
    const row = {
      hash,
      userCodeHash: await userCodeHash(code, pepper.secret),
      clientId,
      ipAddress,
      // A person reads it before they decide: it holds nothing that they would not see.
      userAgent: userAgent.slice(0, 200).replace(/[^\x20-\x7e]/g, "?"),
      lifeMs: CODE_LIFE_MS,
      pollSeconds: POLL_SECONDS,
    };
    if (await insertDeviceCode(db, row)) {
      const userCode = `${code.slice(0, 4)}-${code.slice(4)}`;
      return { deviceCode, userCode, expiresIn: CODE_LIFE_MS / 1000, interval: POLL_SECONDS };
    }
  }
}

export type { WaitingCommand };

/** The command that waits under a code that a person has typed. Undefined if there is none, or it was shown too often. One D1 round trip. */
export const findWaitingCommand = async (
  db: D1Database,
  userCode: string,
  peppers: Peppers,
): Promise<WaitingCommand | undefined> => showDeviceCode(db, await userCodeHashes(userCode, peppers), MAX_SHOWN);

/** Lets a command in that has been shown, or does not. Returns false if it does not wait any more. @throws {AuthorityLostError} */
export const decideDeviceGrant = async (
  db: D1Database,
  userCode: string,
  decision: "approved" | "denied",
  { peppers, ...change }: PersonalChange & { readonly peppers: Peppers },
): Promise<boolean> => decideDeviceCode(db, await userCodeHashes(userCode, peppers), decision, change);

/** What a command gets that asks whether it was let in. */
export type DeviceGrantResult =
  | { readonly result: "signed_in"; readonly token: string; readonly expiresIn: number }
  | { readonly result: Exclude<PolledCode, "signed_in"> };

/**
 * Asks whether a person has let a command in, and opens its session if so: once for a device code. Its life begins with the person's
 * decision. One D1 round trip.
 */
export async function finishDeviceGrant(
  db: D1Database,
  { deviceCode, clientId }: { deviceCode: string; clientId: string },
  context: SignInContext,
): Promise<DeviceGrantResult> {
  const { session, token } = await newCommandSession(clientId, context);
  const hash = await hashOf(deviceCode);
  const result = await pollDeviceCode(db, hash, { session, lifeMs: SESSION_LIFE_MS, ...context });
  if (result !== "signed_in") return { result };
  // The session has lived since the decision, for at most as long as the code.
  return { result, token, expiresIn: (SESSION_LIFE_MS - CODE_LIFE_MS) / 1000 };
}
