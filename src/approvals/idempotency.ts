import { hmac } from "../crypto/hmac.ts";
import type { Peppers } from "../crypto/pepper.ts";
import { randomBase62, toHex } from "../crypto/random.ts";
import { open, seal } from "./seal.ts";
import { claimStatements, deleteClaim, deleteExpired, readClaim, updateAnswer, type Claim } from "./store.ts";

/** How long an answer is kept, in milliseconds. */
const ANSWER_TTL_MS = 86_400_000;
/** How long the secrets of an answer are kept, in milliseconds. */
const SECRETS_TTL_MS = 600_000;
/** A request that was not answered within this time, in milliseconds, will not be any more: its isolate has ended. */
const MAX_IN_FLIGHT_MS = 60_000;

/** What stands in an answer in place of a secret that is not kept any more. */
const HIDDEN = "***";

/** A request that came with an idempotency key. */
export interface IdempotentRequest {
  /** Who sends it. Another caller's key of the same text is another key. */
  readonly caller: string;
  /** What the caller sent as `Idempotency-Key`. */
  readonly key: string;
  /** The method, the path with its query, and the body. */
  readonly content: string;
}

/** What is derived from a request, under each key of `SECRET_PEPPER` in their order. The first is used for what is written. */
interface Derivation {
  /** The id of the row. */
  readonly id: string;
  readonly fingerprint: string;
  /** The bytes of the key that the answer is encrypted under. */
  readonly sealKey: Uint8Array<ArrayBuffer>;
}

/** The key of one request, by which it claims that it is the one that is carried out. */
export interface IdempotencyKey {
  readonly derivations: readonly [Derivation, ...Derivation[]];
  /** Unique to the request, of those with the same key. */
  readonly claim: string;
}

/** The key was used before: nothing was written. */
export class IdempotencyKeyUsedError extends Error {
  override readonly name = "IdempotencyKeyUsedError";
}

/** @param peppers the keys of `SECRET_PEPPER`: what was used under any of them is found. */
export async function deriveIdempotencyKey(
  { caller, key, content }: IdempotentRequest,
  peppers: Peppers,
): Promise<IdempotencyKey> {
  const used = JSON.stringify([caller, key]);
  const derivations = await Promise.all(
    peppers.map(async ({ secret }): Promise<Derivation> => {
      const [id, fingerprint, sealKey] = await Promise.all([
        hmac(secret, "idempotency-key", used),
        hmac(secret, "idempotency-request", JSON.stringify([caller, key, content])),
        hmac(secret, "idempotency-answer", used),
      ]);
      return { id: toHex(id), fingerprint: toHex(fingerprint), sealKey: new Uint8Array(sealKey) };
    }),
  );
  return { derivations: derivations as [Derivation, ...Derivation[]], claim: randomBase62(22) };
}

/** By each database that claims a key: the one that it stands for. */
const claimedOn = new WeakMap<D1Database, D1Database>();

/** The database without the claim, for what comes before a request is carried out, and before it is answered again. */
export const withoutClaim = (db: D1Database): D1Database => claimedOn.get(db) ?? db;

export interface ClaimingDatabase {
  readonly db: D1Database;
  /** Whether a batch has written, and claimed the key. */
  readonly isClaimed: () => boolean;
}

/**
 * Returns a database whose first batch claims the key: what a batch writes and the claim are one transaction, so that two requests with one
 * key never both write, and a request that has written is known to have written even if its isolate ends at that moment. The claim is
 * the batch's end: that the caller may write is checked before it, also for a request that only gets its answer again.
 *
 * Its `batch` rejects with an {@link IdempotencyKeyUsedError} if the key was used before. Then the batch has written nothing.
 */
export function claimingDatabase(db: D1Database, { derivations, claim }: IdempotencyKey): ClaimingDatabase {
  const [{ id, fingerprint }] = derivations;
  const ids = derivations.map((one) => one.id);
  let isClaimed = false;
  const claiming = {
    prepare: db.prepare.bind(db),
    async batch<Row>(statements: D1PreparedStatement[]): Promise<D1Result<Row>[]> {
      if (isClaimed) return db.batch<Row>(statements);
      const last = claimStatements(db, { id, ids, request: fingerprint, claim, lifeMs: ANSWER_TTL_MS });
      try {
        const results = await db.batch<Row>([...statements, ...last]);
        isClaimed = true;
        return results.slice(0, statements.length);
      } catch (cause) {
        if (cause instanceof Error && cause.message.includes("UNIQUE constraint failed: idempotency_keys.id")) {
          throw new IdempotencyKeyUsedError("the idempotency key was used before", { cause });
        }
        throw cause;
      }
    },
  };
  const claimingDb = claiming as D1Database;
  claimedOn.set(claimingDb, db);
  return { db: claimingDb, isClaimed: () => isClaimed };
}

/** What a request gets whose key was used before. */
export type Replay =
  /** `withoutSecrets`: they stand as `***`, because they are kept for a shorter time. */
  | { readonly result: "replayed"; readonly answer: Record<string, unknown>; readonly withoutSecrets: boolean }
  /** The key was used for another request. */
  | { readonly result: "mismatch" }
  /** The request is being carried out. */
  | { readonly result: "in_flight" }
  /** The request was carried out, but its answer was lost. */
  | { readonly result: "not_kept" }
  /** The row is gone: it has just expired, or the request that had the key was refused. */
  | { readonly result: "free" };

/** Reads the answer of the request that used the key before. One D1 round trip. */
export async function readReplay(db: D1Database, { derivations }: IdempotencyKey): Promise<Replay> {
  const row: Claim | undefined = await readClaim(
    db,
    derivations.map(({ id }) => id),
  );
  const derivation = derivations.find(({ id }) => id === row?.id);
  if (!row || !derivation) return { result: "free" };
  const { id, fingerprint, sealKey } = derivation;
  if (row.request !== fingerprint) return { result: "mismatch" };
  if (row.answer === null) return { result: row.age < MAX_IN_FLIGHT_MS ? "in_flight" : "not_kept" };
  const answer = JSON.parse(await open(row.answer, sealKey, `answer ${id}`)) as Record<string, unknown>;
  const secrets =
    row.secrets && (JSON.parse(await open(row.secrets, sealKey, `secrets ${id}`)) as Record<string, string>);
  for (const [path, secret] of Object.entries(secrets || {})) replaceText(answer, path, secret);
  return { result: "replayed", answer, withoutSecrets: row.hasSecrets && !secrets };
}

/**
 * Keeps the answer of the request that has claimed the key: all of it for 24 hours but its secrets, which are kept for 10 minutes.
 * One D1 round trip.
 *
 * @param secretPaths where the secrets stand: `credentials.api_key`.
 */
export async function keepAnswer(
  db: D1Database,
  { derivations: [{ id, sealKey }], claim }: IdempotencyKey,
  answer: object,
  secretPaths: readonly string[],
): Promise<void> {
  const kept = JSON.parse(JSON.stringify(answer)) as Record<string, unknown>;
  const secrets: Record<string, string> = {};
  for (const path of secretPaths) {
    const secret = replaceText(kept, path, HIDDEN);
    if (secret !== undefined) secrets[path] = secret;
  }
  const hasSecrets = Object.keys(secrets).length > 0;
  const [sealedAnswer, sealedSecrets] = await Promise.all([
    seal(JSON.stringify(kept), sealKey, `answer ${id}`),
    hasSecrets ? seal(JSON.stringify(secrets), sealKey, `secrets ${id}`) : null,
  ]);
  await updateAnswer(db, { id, claim, answer: sealedAnswer, secrets: sealedSecrets, secretsLifeMs: SECRETS_TTL_MS });
}

/** Frees the key of a request that has claimed it and was refused. One D1 round trip. */
export const freeKey = (db: D1Database, { derivations: [{ id }], claim }: IdempotencyKey): Promise<void> =>
  deleteClaim(db, id, claim);

/** Deletes up to `limit` keys that have expired, and the secrets of up to `limit` answers that have. Returns the larger number. */
export const sweepIdempotencyKeys = (db: D1Database, limit: number): Promise<number> => deleteExpired(db, limit);

/** Replaces the text at a path, and returns what stood there; undefined, and nothing is changed, if there is no text. */
function replaceText(value: Record<string, unknown>, path: string, text: string): string | undefined {
  const keys = path.split(".");
  const last = keys.pop()!;
  let parent: unknown = value;
  for (const key of keys) parent = (parent as Record<string, unknown> | null | undefined)?.[key];
  if (typeof parent !== "object" || parent === null) return undefined;
  const former = (parent as Record<string, unknown>)[last];
  if (typeof former !== "string") return undefined;
  (parent as Record<string, unknown>)[last] = text;
  return former;
}
