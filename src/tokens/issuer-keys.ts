import { readPublicJwk, type PublicJwk, type ReceivedJwk } from "../agents/public-key.ts";
import type { TrustedIssuer } from "../config/trusted-issuers.ts";
import { readWithin } from "../memory/read-within.ts";
import { isLoopbackUrl } from "../validation/loopback.ts";
import { isObject } from "../validation/is-object.ts";
import { decodeUtf8 } from "../validation/utf8.ts";

/** The public keys of the trusted issuers (RFC 7517), fetched when they are first needed and kept by the isolate. */

/** How long keys are used before they are fetched again, in milliseconds. */
const FRESH_MS = 600_000;
/** How long they are used although they cannot be fetched again: an outage of the issuer stops nobody, and a key that it has withdrawn ends. */
const MAX_STALE_MS = 3_600_000;
/** A key that is not in the set may be newer. Made-up key ids cause one fetch in this time. */
const COOLDOWN_MS = 30_000;
/** How long nobody tries again after a failure. */
const BACKOFF_MS = 10_000;
/** How often a request looks whether another one has fetched the keys. */
const POLL_MS = 25;

/** Of metadata and of a key set, each, in bytes. */
const MAX_BYTES = 256 * 1024;
/** Further keys of a set are not looked at. */
const MAX_KEYS = 100;

interface KeySet {
  keys: readonly PublicJwkWithId[];
  /** Milliseconds. */
  loadedAt: number;
  triedAt: number;
  /** Whether the last fetch failed, and why: for the operator. */
  failure: string | undefined;
  /** Whether a request is fetching it. */
  isLoading: boolean;
}

interface PublicJwkWithId {
  readonly jwk: PublicJwk;
  /** As the set has it. */
  readonly kid: string | undefined;
}

const keySets = new Map<string, KeySet>();

export type IssuerKeys =
  | { readonly keys: readonly PublicJwk[] }
  /** There are none that may be used. What has failed, as a sentence, for the operator. */
  | { readonly unavailable: string };

/**
 * Finds the keys of an issuer that may have signed a token.
 *
 * One request of the isolate fetches, and the others look whether it has: a promise of one request must not be awaited by another, because
 * the runtime does not settle it once its request has ended.
 *
 * @param kid that of the token's header; undefined for all keys.
 * @param waitUntil keeps the fetch going if the client hangs up.
 * @returns no keys if the issuer does not have this one.
 */
export async function findIssuerKeys(
  issuer: TrustedIssuer,
  kid: string | undefined,
  waitUntil: (work: Promise<unknown>) => void,
): Promise<IssuerKeys> {
  const id = JSON.stringify([issuer.issuer, issuer.jwksUri]);
  let set = keySets.get(id);
  if (!set) {
    set = { keys: [], loadedAt: -Infinity, triedAt: -Infinity, failure: undefined, isLoading: false };
    keySets.set(id, set);
  }
  const known = set;
  const find = (): PublicJwk[] =>
    known.keys.filter((key) => kid === undefined || key.kid === kid).map(({ jwk }) => jwk);
  const age = (): number => Date.now() - known.loadedAt;

  if (age() < FRESH_MS && find().length > 0) return { keys: find() };
  const pause = known.failure !== undefined ? BACKOFF_MS : age() < FRESH_MS ? COOLDOWN_MS : 0;
  if (known.isLoading && !isOverdue(known, issuer)) await waitForLoad(known, issuer);
  else if (Date.now() - known.triedAt >= pause) {
    const loading = load(known, issuer);
    waitUntil(loading);
    await loading;
  }
  if (age() < MAX_STALE_MS) return { keys: find() };
  known.keys = [];
  return { unavailable: known.failure ?? "The keys are being fetched." };
}

/** Both documents have to arrive in their time. What takes longer was ended with its request. */
const isOverdue = ({ triedAt }: KeySet, { timeoutMs }: TrustedIssuer): boolean =>
  Date.now() - triedAt > 2 * timeoutMs + 1000;

async function waitForLoad(set: KeySet, issuer: TrustedIssuer): Promise<void> {
  while (set.isLoading && !isOverdue(set, issuer)) await scheduler.wait(POLL_MS);
}

/** Fetches the keys. Never rejects. */
async function load(set: KeySet, issuer: TrustedIssuer): Promise<void> {
  set.isLoading = true;
  set.triedAt = Date.now();
  try {
    const uri = issuer.jwksUri ?? (await discover(issuer));
    const keys = readKeySet(await fetchJson(uri, issuer.timeoutMs));
    if (!keys) throw new Error(`${uri} is not a JWK Set.`);
    set.keys = await usableKeys(keys);
    set.loadedAt = Date.now();
    set.failure = undefined;
  } catch (error) {
    set.failure = (error as Error).message;
  } finally {
    set.isLoading = false;
  }
}

/**
 * The `jwks_uri` of an issuer's metadata (OpenID Connect Discovery 1.0 §4.3).
 *
 * @throws {Error} it names another issuer, or has no such URL.
 */
async function discover({ issuer, timeoutMs }: TrustedIssuer): Promise<string> {
  const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const metadata = await fetchJson(url, timeoutMs);
  const { issuer: named, jwks_uri: uri } = isObject(metadata) ? metadata : {};
  if (named !== issuer) throw new Error(`${url} is the metadata of another issuer.`);
  const isSafe = typeof uri === "string" && (URL.parse(uri)?.protocol === "https:" || isLoopbackUrl(uri));
  if (!isSafe) throw new Error(`${url} has no jwks_uri that is an https URL.`);
  return uri;
}

/** @throws {Error} with a sentence for the operator. */
async function fetchJson(url: string, timeoutMs: number): Promise<unknown> {
  let bytes: Uint8Array | undefined;
  try {
    const response = await fetch(url, {
      headers: { accept: "application/json" },
      // Where the keys are, the configuration says, and nobody whom the issuer's server names.
      redirect: "manual",
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new UnusableResponse(`${url} answers ${response.status}.`);
    }
    bytes = await readWithin(response.body, MAX_BYTES);
  } catch (cause) {
    if (cause instanceof UnusableResponse) throw cause;
    const isLate = cause instanceof Error && cause.name === "TimeoutError";
    throw new Error(isLate ? `${url} does not answer within ${timeoutMs} ms.` : `${url} cannot be reached.`, { cause });
  }
  const text = bytes && decodeUtf8(bytes);
  if (text === undefined) throw new Error(`${url} has more than ${MAX_BYTES} bytes, or is not UTF-8.`);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(`${url} is not JSON.`, { cause });
  }
}

class UnusableResponse extends Error {}

/** The keys of a JWK Set (RFC 7517 §5); undefined if it is none. */
function readKeySet(document: unknown): Record<string, unknown>[] | undefined {
  const keys = isObject(document) ? document.keys : undefined;
  return Array.isArray(keys) ? keys.slice(0, MAX_KEYS).filter(isObject) : undefined;
}

/** Those that verify signatures here. Others, which an issuer may have for other uses and algorithms, are ignored (RFC 7517 §5). */
async function usableKeys(keys: readonly Record<string, unknown>[]): Promise<PublicJwkWithId[]> {
  const read = await Promise.all(
    keys.map(async ({ kty, crv, x, y, n, e, alg, kid, use }) => {
      const members = [kty, crv, x, y, n, e, alg, kid, use];
      if (members.some((one) => one !== undefined && typeof one !== "string")) return undefined;
      // An RSA key without `alg` is for the algorithm that OpenID Connect has by default, and for no other.
      const pinned = alg ?? (kty === "RSA" ? "RS256" : undefined);
      const result = await readPublicJwk({ kty, crv, x, y, n, e, alg: pinned, kid, use } as ReceivedJwk);
      return "jwk" in result ? { jwk: result.jwk, kid: kid as string | undefined } : undefined;
    }),
  );
  return read.filter((one) => one !== undefined);
}
