import { sha256 } from "../../crypto/digest.ts";
import { toHex } from "../../crypto/random.ts";
import { decryptBytes, encryptBytes } from "../../crypto/encryption.ts";
import { concatenate } from "../../memory/concatenate.ts";
import { timeOfRecordId } from "../audit-record.ts";
import { compareRows, fromLine, toLine, type ArchivedRow } from "./archived-row.ts";
import { HOUR_MS } from "../../time/lengths.ts";

/*
 * The objects of the archive. A loose object is what was archived at once: one part. A joined object has a part for each agent, one after
 * another, then an index of the parts, then the length of the index in four bytes (big-endian), so that the records of one agent are read
 * by ranges. A part is JSON lines (one record each, without what is null), compressed with gzip (RFC 1952), then encrypted with AES-GCM
 * under the key of its day. It is bound to the name of its object and to its agent: a part that is moved elsewhere cannot be decrypted.
 */

/** The hour of a record's id, in hours since the epoch. */
export const hourOfId = (id: string): number => Math.floor(timeOfRecordId(id) / HOUR_MS);

/** The day of an hour, in days since the epoch. */
export const dayOfHour = (hour: number): number => Math.floor(hour / 24);

/** The beginning of the names of an hour's objects: `2026/11/26/04/`. */
const hourPrefix = (hour: number): string =>
  `${new Date(hour * HOUR_MS).toISOString().slice(0, 13).replaceAll("-", "/").replace("T", "/")}/`;

/** The beginning of the names of a day's objects: `2026/11/26/`. */
export const dayPrefix = (day: number): string => hourPrefix(day * 24).slice(0, 11);

/** The rows in the order of their ids, each once. */
export function sortRows(rows: readonly ArchivedRow[]): ArchivedRow[] {
  const sorted = rows.toSorted(compareRows);
  return sorted.filter((row, index) => index === 0 || compareRows(sorted[index - 1]!, row) !== 0);
}

/** The key of a day. */
export interface DayKey {
  readonly cipher: CryptoKey;
  /** Tells it from another key of the same day, and tells nothing of it. */
  readonly fingerprint: string;
}

/** Bytes of an object, and what the list of objects says of it. */
export interface ArchiveObject {
  readonly name: string;
  readonly hour: number;
  readonly firstId: string;
  readonly lastId: string;
  readonly records: number;
  readonly content: Uint8Array<ArrayBuffer>;
}

/** One agent's part of a joined object. */
interface Part {
  readonly agent: string;
  /** From the beginning of the object, in bytes. */
  readonly offset: number;
  readonly length: number;
}

/**
 * The name says what is in the object: if one of this name exists, it has the same records, under the same key. A database that was
 * restored to a time before the day had its key makes a new one, under which the same records are another object.
 *
 * The digest tells the world nothing of the records, each of which has 32 random bytes.
 */
async function nameOf(rows: readonly ArchivedRow[], { fingerprint }: DayKey, ending: string): Promise<string> {
  const hash = toHex(await sha256(fingerprint + linesOf(rows))).slice(0, 16);
  return `${hourPrefix(hourOfId(rows[0]!.id))}${rows[0]!.id}-${rows.at(-1)!.id}-${hash}${ending}`;
}

const linesOf = (rows: readonly ArchivedRow[]): string => rows.map((row) => `${toLine(row)}\n`).join("");

/** The object of records that are archived at once. @param rows sorted, at least one, all of one hour. */
export async function packLoose(rows: readonly ArchivedRow[], key: DayKey): Promise<ArchiveObject> {
  const name = await nameOf(rows, key, ".jsonl.gz");
  return describe(name, rows, await seal(linesOf(rows), name, key));
}

/** The object that joins others, with a part for each agent. @param rows as above. */
export async function packJoined(rows: readonly ArchivedRow[], key: DayKey): Promise<ArchiveObject> {
  const name = await nameOf(rows, key, ".joined.gz");
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  const parts: Part[] = [];
  let offset = 0;
  for (const [agent, own] of Map.groupBy(rows, ({ agent_id }) => agent_id)) {
    const piece = await seal(linesOf(own), partOf(name, agent), key);
    pieces.push(piece);
    parts.push({ agent, offset, length: piece.length });
    offset += piece.length;
  }
  const index = await seal(JSON.stringify(parts), name, key);
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, index.length);
  return describe(name, rows, concatenate([...pieces, index, length]));
}

const describe = (name: string, rows: readonly ArchivedRow[], content: Uint8Array<ArrayBuffer>): ArchiveObject => ({
  name,
  hour: hourOfId(rows[0]!.id),
  firstId: rows[0]!.id,
  lastId: rows.at(-1)!.id,
  records: rows.length,
  content,
});

const partOf = (name: string, agent: string): string => `${name}#${agent}`;

/** The records of a loose object. @throws {Error} if it is not what was written under this name. */
export const unpackLoose = async (
  name: string,
  content: Uint8Array<ArrayBuffer>,
  key: DayKey,
): Promise<ArchivedRow[]> => toRows(await open(content, name, key));

/** The records of every part of a joined object. @throws {Error} as above. */
export async function unpackJoined(
  name: string,
  content: Uint8Array<ArrayBuffer>,
  key: DayKey,
): Promise<ArchivedRow[]> {
  const parts = await unpackIndex(name, content, key);
  const rows = await Promise.all(
    parts!.map(({ agent, offset, length }) => unpackPart(name, agent, content.slice(offset, offset + length), key)),
  );
  return rows.flat();
}

/**
 * The index of a joined object.
 *
 * @param end the end of the object, or all of it.
 * @returns null if the index does not fit into this end; {@link indexLength} says how long an end has to be.
 */
export async function unpackIndex(
  name: string,
  end: Uint8Array<ArrayBuffer>,
  key: DayKey,
): Promise<readonly Part[] | null> {
  const length = indexLength(end);
  if (length > end.length) return null;
  return JSON.parse(await open(end.slice(end.length - length, end.length - 4), name, key)) as Part[];
}

/** The length of a joined object's index with its four bytes of length, which are the last of the object. */
export const indexLength = (end: Uint8Array<ArrayBuffer>): number =>
  new DataView(end.buffer, end.byteOffset, end.byteLength).getUint32(end.length - 4) + 4;

/** The records of one agent's part. @throws {Error} as above. */
export const unpackPart = async (
  name: string,
  agent: string,
  part: Uint8Array<ArrayBuffer>,
  key: DayKey,
): Promise<ArchivedRow[]> => toRows(await open(part, partOf(name, agent), key));

const toRows = (lines: string): ArchivedRow[] => lines.split("\n").filter(Boolean).map(fromLine);

async function seal(text: string, boundTo: string, key: DayKey): Promise<Uint8Array<ArrayBuffer>> {
  return encryptBytes(
    await through(new TextEncoder().encode(text), new CompressionStream("gzip")),
    boundTo,
    key.cipher,
  );
}

async function open(bytes: Uint8Array<ArrayBuffer>, boundTo: string, key: DayKey): Promise<string> {
  const compressed = await decryptBytes(bytes, boundTo, key.cipher);
  return new TextDecoder().decode(await through(compressed, new DecompressionStream("gzip")));
}

async function through(
  bytes: Uint8Array,
  transform: CompressionStream | DecompressionStream,
): Promise<Uint8Array<ArrayBuffer>> {
  const readable = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(transform);
  return new Uint8Array(await new Response(readable).arrayBuffer());
}
