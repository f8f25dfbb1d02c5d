import type { EncryptionKey } from "../../crypto/encryption.ts";
import { logFailure } from "../../log/failure-log.ts";
import { compareRows, type ArchivedRow } from "./archived-row.ts";
import { getDayKey } from "./day-keys.ts";
import {
  dayOfHour,
  hourOfId,
  indexLength,
  unpackIndex,
  unpackJoined,
  unpackLoose,
  unpackPart,
  type DayKey,
} from "./object.ts";
import { getObject } from "./store/bucket.ts";
import { listObjects, type ListedObject } from "./store/objects.ts";
import type { Archive } from "./write.ts";

/** Which records of the archive are wanted. */
export interface ArchiveQuery {
  /** Only records about these agents, which are read without those of others; '' is no agent. */
  readonly agentIds?: readonly string[] | undefined;
  /** The least id that is wanted. */
  readonly fromId: string;
  /** Only records with smaller ids. */
  readonly beforeId: string;
  /** Asked of each record as it ended. */
  readonly matches: (row: ArchivedRow) => boolean;
  readonly limit: number;
}

export interface ArchivePage {
  /** The newest first, each with its last part. */
  readonly rows: ArchivedRow[];
  /** Records with smaller ids have not been looked at; null if there are none. */
  readonly nextId: string | null;
}

/** How much is read for one page. What comes after it is for the next page. */
export interface PageBudget {
  readonly objects: number;
  readonly bytes: number;
}

const PAGE_BUDGET: PageBudget = { objects: 32, bytes: 8 * 1024 * 1024 };

/** How many objects are read at once. */
const READ_AT_ONCE = 4;

/** Of so many agents the parts of a joined object are read one by one. Of more, the object is read as a whole. */
const MAX_PARTS = 6;

/** How many objects are listed at once. */
const LISTED_AT_ONCE = 50;

/** Thrown if the archive cannot be read now. The message says why. */
export class ArchiveError extends Error {
  override readonly name = "ArchiveError";
}

/**
 * Reads one page of the archive. Of objects that overlap, a record is returned once, with its highest part. A page may be shorter than
 * `limit`, even empty, if it has read as much as its budget allows.
 *
 * @throws {ArchiveError} if the bucket does not answer, or a key of DATA_KEYS is missing.
 */
export async function readArchive(
  { db, bucket, dataKeys }: Pick<Archive, "db" | "bucket" | "dataKeys">,
  query: ArchiveQuery,
  budget: PageBudget = PAGE_BUDGET,
): Promise<ArchivePage> {
  const reader = new ObjectReader(db, bucket, dataKeys, query.agentIds);
  const isWanted = ({ id }: ArchivedRow) => id >= query.fromId && id < query.beforeId;
  const rows: ArchivedRow[] = [];
  /** Records that were read, and of which objects that are not read yet may have a higher part or others between them. */
  let pending: ArchivedRow[] = [];

  /** Returns true once the page is full. Only records with ids above the frontier are complete. */
  const emit = (frontier: string): boolean => {
    const complete = pending.filter(({ id }) => id > frontier);
    pending = pending.filter(({ id }) => id <= frontier);
    for (const row of lastParts(complete)) {
      if (rows.length === query.limit) return true;
      if (query.matches(row)) rows.push(row);
    }
    return rows.length === query.limit;
  };

  let [objects, bytes] = [0, 0];
  for await (const chunk of chunksOfObjects(db, query)) {
    const frontier = chunk[0]!.lastId;
    if (emit(frontier)) return { rows, nextId: rows.at(-1)!.id };
    // What is left is for the next page, if this one has come any further than the one before it.
    const nextId = successor(frontier);
    if ((objects >= budget.objects || bytes >= budget.bytes) && nextId < query.beforeId) return { rows, nextId };
    const read = await Promise.all(chunk.map((object) => reader.read(object)));
    for (const one of read) {
      objects++;
      bytes += one.bytes;
      for (const row of one.rows) if (isWanted(row)) pending.push(row);
    }
  }
  return emit("") ? { rows, nextId: rows.at(-1)!.id } : { rows, nextId: null };
}

/** Records newest first, of each only the last part. */
function lastParts(rows: readonly ArchivedRow[]): ArchivedRow[] {
  const sorted = rows.toSorted((a, b) => compareRows(b, a));
  return sorted.filter(({ id }, index) => index === 0 || sorted[index - 1]!.id !== id);
}

/** The objects that can hold what is wanted, those with the greatest last ids first. */
async function* chunksOfObjects(
  db: D1Database,
  { fromId, beforeId }: ArchiveQuery,
): AsyncGenerator<readonly ListedObject[]> {
  let after: Pick<ListedObject, "hour" | "lastId" | "name"> | undefined;
  for (;;) {
    const listed: ListedObject[] = await guard("the list of objects", () =>
      listObjects(db, {
        fromHour: hourOfId(fromId),
        toHour: hourOfId(beforeId),
        beforeId,
        after,
        limit: LISTED_AT_ONCE,
      }),
    );
    for (let at = 0; at < listed.length; at += READ_AT_ONCE) yield listed.slice(at, at + READ_AT_ONCE);
    if (listed.length < LISTED_AT_ONCE) return;
    after = listed.at(-1);
  }
}

/** The least id that is greater than this one. */
function successor(id: string): string {
  const [prefix, digits] = [id.slice(0, 4), id.slice(4)];
  return prefix + (BigInt(`0x${digits}`) + 1n).toString(16).padStart(digits.length, "0");
}

interface ReadObject {
  readonly rows: readonly ArchivedRow[];
  readonly bytes: number;
}

const NOTHING: ReadObject = { rows: [], bytes: 0 };

/** How much of the end of a joined object is read for its index, in bytes. */
const INDEX_GUESS_BYTES = 16 * 1024;

/** Reads objects, and the keys of their days, for one page. */
class ObjectReader {
  readonly #db: D1Database;
  readonly #bucket: R2Bucket;
  readonly #dataKeys: readonly EncryptionKey[];
  readonly #agentIds: ReadonlySet<string> | undefined;
  readonly #keys = new Map<number, Promise<DayKey | null>>();

  constructor(
    db: D1Database,
    bucket: R2Bucket,
    dataKeys: readonly EncryptionKey[],
    agentIds: readonly string[] | undefined,
  ) {
    this.#db = db;
    this.#bucket = bucket;
    this.#dataKeys = dataKeys;
    this.#agentIds = agentIds && new Set(agentIds);
  }

  read(object: ListedObject): Promise<ReadObject> {
    return guard(object.name, async () => {
      const key = await this.#keyOf(dayOfHour(object.hour));
      // Retention has deleted the day.
      if (key === null) return NOTHING;
      const agentIds = this.#agentIds;
      if (object.state === "joined" && agentIds && agentIds.size <= MAX_PARTS) {
        return this.#readParts(object, agentIds, key);
      }
      const content = await this.#get(object.name);
      if (!content) return NOTHING;
      const unpack = object.state === "joined" ? unpackJoined : unpackLoose;
      const rows = await unpack(object.name, content, key);
      const wanted = agentIds ? rows.filter(({ agent_id }) => agentIds.has(agent_id)) : rows;
      return { rows: wanted, bytes: content.length };
    });
  }

  /** Some agents' parts of a joined object: one or two reads of ranges, and one for each part. */
  async #readParts({ name, bytes }: ListedObject, agentIds: ReadonlySet<string>, key: DayKey): Promise<ReadObject> {
    let end = await this.#get(name, { suffix: Math.min(bytes, INDEX_GUESS_BYTES) });
    if (!end) return NOTHING;
    const length = indexLength(end);
    if (length > end.length) end = await this.#get(name, { suffix: length });
    if (!end) return NOTHING;
    const parts = (await unpackIndex(name, end, key))?.filter(({ agent }) => agentIds.has(agent)) ?? [];
    const read = await Promise.all(
      parts.map(async ({ agent, offset, length: partLength }) => {
        const content = await this.#get(name, { offset, length: partLength });
        return content ? unpackPart(name, agent, content, key) : [];
      }),
    );
    return { rows: read.flat(), bytes: parts.reduce((sum, part) => sum + part.length, end.length) };
  }

  async #get(name: string, range?: R2Range): Promise<Uint8Array<ArrayBuffer> | null> {
    const content = await getObject(this.#bucket, name, range);
    // Others are shown without it: an object that somebody deleted never comes back.
    if (!content) logFailure("archive_object_missing", "the bucket does not have it", { name });
    return content;
  }

  #keyOf(day: number): Promise<DayKey | null> {
    let key = this.#keys.get(day);
    if (!key) {
      key = getDayKey(this.#db, day, this.#dataKeys);
      this.#keys.set(day, key);
    }
    return key;
  }
}

async function guard<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new ArchiveError(`The archive cannot be read (${what}): ${String(cause)}`, { cause });
  }
}
