import { env } from "cloudflare:workers";
import { toHex } from "../../src/crypto/random.ts";

/** A row of `records` that a test puts there, with what it does not say as a read call of an agent. */
export interface SeededRow {
  readonly agent: string;
  /** Milliseconds. */
  readonly at: number;
  readonly part?: 0 | 1;
  readonly id?: string;
  readonly outcome?: string;
  readonly message?: string;
  readonly path?: string;
}

/** The id of a record of this time, the `n`th of those that a test makes. */
export const recordId = (at: number, n: number): string =>
  `aud_${at.toString(16).padStart(12, "0")}7${n.toString(16).padStart(19, "0")}`;

let made = 0;

/** Puts rows, and the batch that they are in, into AUDIT_DB, as its consumer does. Returns their ids. */
export async function seedRecords(rows: readonly SeededRow[], db: D1Database = env.AUDIT_DB): Promise<string[]> {
  const batch = `b${++made}`;
  const full = rows.map(({ id, ...row }) => ({
    part: 1,
    outcome: "success",
    message: null,
    path: "/repos/octo/hello/issues/5",
    ...row,
    id: id ?? recordId(row.at, ++made),
    random: toHex(crypto.getRandomValues(new Uint8Array(32))),
  }));
  const ids = full.map(({ id }) => id).toSorted();
  const json = JSON.stringify(full);
  await db.batch([
    db
      .prepare(
        `INSERT INTO records (agent_id, id, part, at, action, outcome, actor_type, actor_id, service, method, path, status, message, random, batch)
         SELECT value ->> 'agent', value ->> 'id', value ->> 'part', value ->> 'at', 'gateway.call', value ->> 'outcome', 'agent',
           value ->> 'agent', 'github', 'GET', value ->> 'path', 200, value ->> 'message', value ->> 'random', ?2 FROM json_each(?1)`,
      )
      .bind(json, batch),
    db
      .prepare(
        `INSERT INTO record_minutes (minute, agent_id)
         SELECT DISTINCT (value ->> 'at') / 60000, value ->> 'agent' FROM json_each(?1) WHERE true ON CONFLICT DO NOTHING`,
      )
      .bind(json),
    db
      .prepare(
        `INSERT INTO batches (id, first_id, last_id, keys, created_at)
         SELECT ?2, ?3, ?4, json_group_array(json_array(value ->> 'agent', value ->> 'id', value ->> 'part')), ?5 FROM json_each(?1)`,
      )
      .bind(json, batch, ids[0]!, ids.at(-1)!, Math.max(...rows.map(({ at }) => at))),
  ]);
  return full.map(({ id }) => id);
}
