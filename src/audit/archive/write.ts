import type { EncryptionKey } from "../../crypto/encryption.ts";
import { logFailure } from "../../log/failure-log.ts";
import { firstRecordIdAt } from "../audit-record.ts";
import type { ArchivedRow } from "./archived-row.ts";
import { makeDayKey } from "./day-keys.ts";
import { firstKeptDay } from "./kept-days.ts";
import { dayOfHour, hourOfId, packJoined, packLoose, sortRows, unpackLoose, type ArchiveObject } from "./object.ts";
import { deleteObjects, getObject, putObject } from "./store/bucket.ts";
import {
  deleteDoneBatches,
  findReplaced,
  findToJoin,
  forgetObjects,
  insertObject,
  markArchived,
  markExpired,
  markReplaced,
  readUnarchived,
  type ListedObject,
} from "./store/objects.ts";
import { DAY_MS, HOUR_MS } from "../../time/lengths.ts";

/** What the archive needs of a deployment. */
export interface Archive {
  readonly db: D1Database;
  readonly bucket: R2Bucket;
  /** Newest first. Without any, nothing is archived, and so nothing leaves the database. */
  readonly dataKeys: readonly EncryptionKey[];
  /** How many days records are kept in all; null: without end. */
  readonly retentionDays: number | null;
}

/** What one step takes from the database: a few MB, at the size that records have. */
const PER_STEP = { batches: 100, records: 1000 };

/**
 * Archives the oldest records that are not archived: one object for each of their hours. An object is put before its records are marked,
 * so a run that is cut short leaves records that are archived again. If meanwhile others have come, the second object has another name,
 * and records that are in both are one record to every reader.
 *
 * @param now milliseconds.
 * @returns `limit` if there may be more, else how many records it archived.
 */
export async function archiveRecords(archive: Archive, now: number, limit: number): Promise<number> {
  const { db, bucket, dataKeys, retentionDays } = archive;
  const firstDay = retentionDays === null ? 0 : firstKeptDay(retentionDays, now);
  // Without keys nothing is archived, but what is older than the retention leaves the database all the same.
  if (dataKeys.length === 0) return markExpired(db, firstRecordIdAt(firstDay * DAY_MS), now, limit);
  const { batches, rows } = await readUnarchived(db, PER_STEP);
  if (batches.length === 0) return 0;
  const hours = Map.groupBy(sortRows(rows), ({ id }) => hourOfId(id));
  const objects: ArchiveObject[] = [];
  for (const [hour, own] of hours) {
    // Of a day that retention has deleted, or is about to, nothing is archived.
    const key = dayOfHour(hour) < firstDay ? null : await makeDayKey(db, dayOfHour(hour), dataKeys);
    if (key === null) continue;
    const object = await packLoose(own, key);
    await putObject(bucket, object);
    objects.push(object);
  }
  await db.batch([...objects.map((object) => insertObject(db, object, "loose", now)), markArchived(db, batches, now)]);
  return limit;
}

/** How long after its end an hour is joined, in milliseconds: intents without an end are moved within that time. */
const JOIN_DELAY_MS = 3_600_000;

/** How much a joined object holds. An hour with more has several, one after another. */
const MAX_JOINED = { objects: 100, records: 8000, bytes: 2 * 1024 * 1024 };

/**
 * Joins the loose objects of one hour that is over. Those that it replaces are read no more, and another step deletes them. An hour whose
 * records come later, or are too many, gets several joined objects.
 *
 * @param now milliseconds.
 * @returns `limit` if there may be more, else 0.
 */
export async function joinHours(archive: Archive, now: number, limit: number): Promise<number> {
  const { db, bucket, dataKeys } = archive;
  if (dataKeys.length === 0) return 0;
  const beforeHour = Math.floor((now - JOIN_DELAY_MS) / HOUR_MS);
  const loose = withinBounds(await findToJoin(db, beforeHour, MAX_JOINED.objects));
  if (loose.length === 0) return 0;
  const key = await makeDayKey(db, dayOfHour(loose[0]!.hour), dataKeys);
  // The sweep of retention deletes these objects, and what is known of them.
  if (key === null) return 0;
  const rows: ArchivedRow[] = [];
  const missing: string[] = [];
  for (const { name } of loose) {
    const content = await getObject(bucket, name);
    if (content) rows.push(...(await unpackLoose(name, content, key)));
    else missing.push(name);
  }
  if (missing.length > 0) {
    logFailure("archive_object_missing", "the bucket does not have an object that the archive lists", {
      names: missing.slice(0, 10),
    });
  }
  const names = loose.map(({ name }) => name);
  if (rows.length === 0) {
    await db.batch([markReplaced(db, names, now)]);
    return limit;
  }
  const joined = await packJoined(sortRows(rows), key);
  await putObject(bucket, joined);
  await db.batch([insertObject(db, joined, "joined", now), markReplaced(db, names, now)]);
  return limit;
}

/** The first of these objects that fit into one joined object together; at least one. */
function withinBounds(objects: readonly ListedObject[]): ListedObject[] {
  let [records, bytes] = [0, 0];
  return objects.filter((object, index) => {
    records += object.records;
    bytes += object.bytes;
    return index === 0 || (records <= MAX_JOINED.records && bytes <= MAX_JOINED.bytes);
  });
}

/** How long a replaced object is kept, in milliseconds: a page that lists it may be about to read it. */
const KEEP_REPLACED_MS = 300_000;

/** How many objects R2 deletes at once. */
const MAX_DELETED_PER_STEP = 500;

/** Deletes loose objects that were replaced by a joined one. Returns how many. @param now milliseconds. */
export async function deleteReplaced(
  { db, bucket }: Pick<Archive, "db" | "bucket">,
  now: number,
  limit: number,
): Promise<number> {
  const names = await findReplaced(db, now - KEEP_REPLACED_MS, Math.min(limit, MAX_DELETED_PER_STEP));
  if (names.length === 0) return 0;
  await deleteObjects(bucket, names);
  await forgetObjects(db, names);
  return names.length;
}

/** Deletes up to `limit` rows of `batches` that are archived and sent. Returns how many. */
export const sweepBatches = (db: D1Database, isSending: boolean, limit: number): Promise<number> =>
  deleteDoneBatches(db, isSending, limit);
