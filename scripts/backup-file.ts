import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";

/**
 * One backup: a first line of JSON, and after it the dumps, compressed and encrypted with AES-256-GCM. The line is authenticated too, so
 * that a backup cannot be passed off as another one.
 */
interface Header {
  readonly format: typeof FORMAT;
  readonly environment: string;
  readonly created_at: string;
  /** The key of `DATA_KEYS` that encrypts it. */
  readonly kid: string;
  /** In base64url. */
  readonly iv: string;
}

const FORMAT = "agentauth-backup-1";
const TAG_BYTES = 16;

/** A key of `DATA_KEYS`. */
export interface DataKey {
  readonly kid: string;
  /** 32 bytes in base64url. */
  readonly k: string;
}

/** A dump of each database, by the name of its binding. */
export type Dumps = Readonly<Record<string, string>>;

/** A backup that cannot be read: the message says why. */
export class BackupError extends Error {}

/** Returns the keys of the setting `DATA_KEYS`, the first of which encrypts. @throws {BackupError} if there is none. */
export function readDataKeys(setting: string | undefined): readonly DataKey[] {
  try {
    const { keys } = JSON.parse(setting ?? "") as { keys: DataKey[] };
    if (keys.length > 0 && keys.every(({ kid, k }) => kid && Buffer.from(k, "base64url").length === 32)) return keys;
  } catch {
    // Told below: the text itself is a secret.
  }
  throw new BackupError("DATA_KEYS is missing in the file of secrets, or cannot be read.");
}

/** Returns the bytes of a backup. */
export function sealBackup(dumps: Dumps, about: { environment: string; createdAt: Date }, key: DataKey): Buffer {
  const iv = randomBytes(12);
  const header: Header = {
    format: FORMAT,
    environment: about.environment,
    created_at: about.createdAt.toISOString(),
    kid: key.kid,
    iv: iv.toString("base64url"),
  };
  const line = Buffer.from(`${JSON.stringify(header)}\n`);
  const cipher = createCipheriv("aes-256-gcm", Buffer.from(key.k, "base64url"), iv).setAAD(line);
  return Buffer.concat([line, cipher.update(gzipSync(JSON.stringify(dumps))), cipher.final(), cipher.getAuthTag()]);
}

/** Returns the dumps of a backup. @throws {BackupError} if it is damaged, was changed, or its key is not among these. */
export function openBackup(
  backup: Buffer,
  keys: readonly DataKey[],
): { readonly header: Header; readonly dumps: Dumps } {
  const end = backup.indexOf("\n");
  const header = readHeader(backup.subarray(0, Math.max(end, 0)).toString());
  const key = keys.find(({ kid }) => kid === header.kid);
  if (!key)
    throw new BackupError(
      `The backup is encrypted with the data key ${header.kid}, which the file of secrets does not have.`,
    );
  const [line, sealed, tag] = [
    backup.subarray(0, end + 1),
    backup.subarray(end + 1, -TAG_BYTES),
    backup.subarray(-TAG_BYTES),
  ];
  const iv = Buffer.from(header.iv, "base64url");
  try {
    const decipher = createDecipheriv("aes-256-gcm", Buffer.from(key.k, "base64url"), iv, { authTagLength: TAG_BYTES });
    decipher.setAAD(line).setAuthTag(tag);
    const text = gunzipSync(Buffer.concat([decipher.update(sealed), decipher.final()])).toString();
    return { header, dumps: JSON.parse(text) as Dumps };
  } catch {
    throw new BackupError("The backup is damaged or was changed: it does not decrypt.");
  }
}

function readHeader(line: string): Header {
  try {
    const header = JSON.parse(line) as Header;
    if (header.format === FORMAT) return header;
  } catch {
    // Told below.
  }
  throw new BackupError("This is no backup of AgentAuth.");
}
