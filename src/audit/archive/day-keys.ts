import { fromBase64, toBase64 } from "../../crypto/base64.ts";
import { ALGORITHM, decryptText, encryptText, type EncryptionKey } from "../../crypto/encryption.ts";
import { sha256 } from "../../crypto/digest.ts";
import { toHex } from "../../crypto/random.ts";
import { logFailure } from "../../log/failure-log.ts";
import type { DayKey } from "./object.ts";
import { findDayKeysUnder, insertDayKey, readDayKey, updateDayKey, type StoredDayKey } from "./store/day-keys.ts";

const KEY_BYTES = 32;

const boundTo = (day: number): string => `audit day ${day}`;

/** Returns the key of a day for reading, or null if there is none: retention deletes it. @throws {Error} if it cannot be decrypted. */
export async function getDayKey(
  db: D1Database,
  day: number,
  dataKeys: readonly EncryptionKey[],
): Promise<DayKey | null> {
  const key = await readDayKey(db, day);
  return key ? open(key, day, dataKeys) : null;
}

/**
 * Returns the key of a day for writing, which is made if there is none. Of two that make it at once, the first wins, and both use it.
 *
 * @returns null if retention has deleted it: nothing is archived for that day any more.
 * @throws {Error} if it cannot be decrypted.
 */
export async function makeDayKey(
  db: D1Database,
  day: number,
  dataKeys: readonly EncryptionKey[],
): Promise<DayKey | null> {
  const present = await readDayKey(db, day);
  if (present === null) return null;
  const key = present ?? (await insertDayKey(db, day, await newKey(day, dataKeys)));
  return key === null ? null : open(key, day, dataKeys);
}

const newKey = (day: number, dataKeys: readonly EncryptionKey[]): Promise<string> =>
  encryptText(toBase64(crypto.getRandomValues(new Uint8Array(KEY_BYTES))), boundTo(day), dataKeys);

async function open(key: string, day: number, dataKeys: readonly EncryptionKey[]): Promise<DayKey> {
  const text = await decryptText(key, boundTo(day), dataKeys, "DATA_KEYS");
  const cipher = await crypto.subtle.importKey("raw", fromBase64(text), ALGORITHM, false, ["encrypt", "decrypt"]);
  return { cipher, fingerprint: toHex(await sha256(`fingerprint of ${text}`)).slice(0, 16) };
}

/** Each key costs an encryption. */
const MAX_RESEALED_PER_STEP = 200;

/**
 * Encrypts keys of days under the newest key of DATA_KEYS if they are under an older one, so that the older key can be retired.
 *
 * @param dataKeys newest first.
 * @returns `limit` if there may be more, else how many it handled.
 */
export async function resealDayKeys(
  db: D1Database,
  dataKeys: readonly EncryptionKey[],
  limit: number,
): Promise<number> {
  const older = dataKeys.slice(1).map(({ kid }) => kid);
  if (older.length === 0) return 0;
  const most = Math.min(limit, MAX_RESEALED_PER_STEP);
  const keys = await findDayKeysUnder(db, older, most);
  const statements = (await Promise.all(keys.map((key) => reseal(db, key, dataKeys)))).filter((one) => one !== null);
  if (statements.length > 0) await db.batch(statements);
  // Keys that cannot be decrypted are tried again in the next minute, and not in the next step.
  return keys.length === most && statements.length === most ? limit : statements.length;
}

async function reseal(
  db: D1Database,
  dayKey: StoredDayKey,
  dataKeys: readonly EncryptionKey[],
): Promise<D1PreparedStatement | null> {
  const { day, key } = dayKey;
  try {
    const text = await decryptText(key, boundTo(day), dataKeys, "DATA_KEYS");
    return updateDayKey(db, dayKey, await encryptText(text, boundTo(day), dataKeys));
  } catch (cause) {
    logFailure("day_key_unreadable", cause, { day });
    return null;
  }
}
