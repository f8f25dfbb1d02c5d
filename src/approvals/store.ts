import { prepare, sql } from "../database/sql.ts";
import { DATABASE_NOW } from "../database/time.ts";

export interface NewClaim {
  readonly id: string;
  /** The ids under each key of `SECRET_PEPPER`. */
  readonly ids: readonly string[];
  readonly request: string;
  readonly claim: string;
  /** Milliseconds. */
  readonly lifeMs: number;
}

/**
 * The statements that claim a key, for the end of a batch. They fail, and so roll the batch back, if there is a row under any of the
 * ids that has not expired.
 */
export function claimStatements(db: D1Database, { id, ids, request, claim, lifeMs }: NewClaim): D1PreparedStatement[] {
  const given = sql`id IN (SELECT value FROM json_each(${JSON.stringify(ids)}))`;
  const columns = sql`id, request, claim, claimed_at, expires_at`;
  return [
    prepare(db, sql`DELETE FROM idempotency_keys WHERE ${given} AND expires_at <= ${DATABASE_NOW}`),
    // A row that is inserted again fails by its primary key, also one whose id was derived under a former pepper.
    prepare(
      db,
      sql`INSERT INTO idempotency_keys (${columns})
        SELECT ${columns} FROM idempotency_keys WHERE ${given}
        UNION ALL SELECT ${id}, ${request}, ${claim}, ${DATABASE_NOW}, ${DATABASE_NOW} + ${lifeMs}`,
    ),
  ];
}

/** A key that was used. */
export interface Claim {
  readonly id: string;
  readonly request: string;
  /** Encrypted; null until the request is answered. */
  readonly answer: string | null;
  /** Encrypted; null once they are not kept any more. */
  readonly secrets: string | null;
  /** Whether the answer had secrets. */
  readonly hasSecrets: boolean;
  /** Milliseconds since the key was claimed, by the database's clock. */
  readonly age: number;
}

interface ClaimRow extends Pick<Claim, "id" | "request" | "answer" | "secrets" | "age"> {
  has_secrets: number;
}

/** Reads the row under one of the ids, unless it has expired. */
export async function readClaim(db: D1Database, ids: readonly string[]): Promise<Claim | undefined> {
  const row = await prepare(
    db,
    sql`SELECT id, request, answer, iif(secrets_expire_at > ${DATABASE_NOW}, secrets, NULL) AS secrets,
        secrets_expire_at IS NOT NULL AS has_secrets, ${DATABASE_NOW} - claimed_at AS age
      FROM idempotency_keys
      WHERE id IN (SELECT value FROM json_each(${JSON.stringify(ids)})) AND expires_at > ${DATABASE_NOW}`,
  ).first<ClaimRow>();
  if (!row) return undefined;
  const { has_secrets: hasSecrets, ...claim } = row;
  return { ...claim, hasSecrets: hasSecrets === 1 };
}

export interface KeptAnswer {
  readonly id: string;
  readonly claim: string;
  readonly answer: string;
  readonly secrets: string | null;
  /** Milliseconds. */
  readonly secretsLifeMs: number;
}

/** Stores the answer of the request that has the claim. */
export async function updateAnswer(
  db: D1Database,
  { id, claim, answer, secrets, secretsLifeMs }: KeptAnswer,
): Promise<void> {
  const expiry = secrets === null ? sql`NULL` : sql`${DATABASE_NOW} + ${secretsLifeMs}`;
  await prepare(
    db,
    sql`UPDATE idempotency_keys SET answer = ${answer}, secrets = ${secrets}, secrets_expire_at = ${expiry}
      WHERE id = ${id} AND claim = ${claim}`,
  ).run();
}

/** Deletes a claim that has no answer. */
export async function deleteClaim(db: D1Database, id: string, claim: string): Promise<void> {
  await prepare(db, sql`DELETE FROM idempotency_keys WHERE id = ${id} AND claim = ${claim} AND answer IS NULL`).run();
}

/** Deletes up to `limit` rows that have expired, and up to `limit` secrets. Returns the larger number. */
export async function deleteExpired(db: D1Database, limit: number): Promise<number> {
  const results = await db.batch([
    prepare(
      db,
      sql`DELETE FROM idempotency_keys WHERE id IN (
        SELECT id FROM idempotency_keys WHERE expires_at <= ${DATABASE_NOW} ORDER BY expires_at LIMIT ${limit})`,
    ),
    prepare(
      db,
      sql`UPDATE idempotency_keys SET secrets = NULL WHERE id IN (
        SELECT id FROM idempotency_keys WHERE secrets IS NOT NULL AND secrets_expire_at <= ${DATABASE_NOW}
        ORDER BY secrets_expire_at LIMIT ${limit})`,
    ),
  ]);
  return Math.max(...results.map(({ meta }) => meta.changes));
}
