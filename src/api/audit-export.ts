import * as z from "zod/mini";
import { requireAssertion } from "../access/assertion.ts";
import { authenticate, WATCH_INTERVAL_MS } from "../access/authenticate.ts";
import { originOf } from "../access/origin.ts";
import { admitPerson } from "../access/person.ts";
import { route, type Call } from "../access/route.ts";
import { ArchiveError } from "../audit/archive/read.ts";
import { isRecordId, type AuditRecord } from "../audit/audit-record.ts";
import { beginExport, describeBreak } from "../audit/export.ts";
import { searchRecords, type RecordPage } from "../audit/search.ts";
import { ApiError, unavailable } from "../http/errors.ts";
import { logOf, recordFilterShape, toRecordFilter, toRecordResponse, withArchive } from "./audit.ts";
import { csvEnd, csvHeader, csvRow, type CsvRow } from "./audit-csv.ts";
import { cursorOf } from "./pagination.ts";
import { once } from "../validation/once.ts";

/** How many records are read at once, which is about what is in memory. */
const PAGE_SIZE = 4000;

/**
 * How many pages one request reads. A Worker makes 1,000 queries to D1 in one invocation, and has 30 seconds of CPU; the rest is for
 * the next request, whose cursor stands at the end of the export.
 */
const MAX_PAGES = 100;

/** How an export is written. */
interface Format {
  readonly contentType: string;
  readonly begin: string;
  readonly record: (record: AuditRecord) => string;
  /** The end of an export that did not break off. Without it, the file is not whole. */
  readonly end: (records: number, nextCursor: string | null) => string;
}

const asAdministrator = { seesAll: true, id: "" };

const FORMATS: Readonly<Record<"jsonl" | "csv", Format>> = {
  jsonl: {
    contentType: "application/jsonl; charset=utf-8",
    begin: "",
    record: (record) => `${JSON.stringify(toRecordResponse(record, asAdministrator))}\n`,
    end: (records, next_cursor) => `${JSON.stringify({ end: { records, next_cursor } })}\n`,
  },
  csv: {
    contentType: "text/csv; charset=utf-8; header=present",
    begin: csvHeader(),
    record: (record) => csvRow(toCsvRow(record)),
    end: (records, nextCursor) =>
      csvEnd(
        `End: ${records} records. ${nextCursor === null ? "" : `They go on at cursor ${nextCursor}. `}Only an export as JSON lines can be verified: here, a ' stands before what a spreadsheet would calculate.`,
      ),
  },
};

function toCsvRow(record: AuditRecord): CsvRow {
  const { actor, act, before, after, ...rest } = toRecordResponse(record, asAdministrator);
  const json = (value: object | null | undefined) => (value ? JSON.stringify(value) : null);
  return {
    ...rest,
    actor_type: actor?.type ?? null,
    actor_id: actor?.id ?? null,
    actor_name: actor?.name ?? null,
    act: act.length > 0 ? JSON.stringify(act) : null,
    before: json(before),
    after: json(after),
  };
}

/** The pages of an export, one after another. */
type Pages = (cursor: string | undefined) => Promise<RecordPage>;

interface Written {
  records: number;
  bytes: number;
  nextCursor: string | null;
}

/**
 * Writes an export page by page. The next page is read when the receiver has taken the one before it, so that no more than that is in
 * memory.
 *
 * @param first the first page, which was read before the response began.
 * @param checkCaller rejects once the caller may read the log no more.
 * @param written what was written so far.
 */
export async function writeExport(
  writer: WritableStreamDefaultWriter<Uint8Array>,
  format: Format,
  { first, pages, checkCaller }: { first: RecordPage; pages: Pages; checkCaller: () => Promise<void> },
  written: Written,
  { maxPages, clock }: { maxPages: number; clock: () => number } = { maxPages: MAX_PAGES, clock: Date.now },
): Promise<void> {
  const encoder = new TextEncoder();
  const write = async (text: string): Promise<void> => {
    if (text === "") return;
    const bytes = encoder.encode(text);
    await writer.write(bytes);
    written.bytes += bytes.length;
  };
  await write(format.begin);
  let checkedAt = clock();
  let page = first;
  for (let read = 1; ; read++) {
    await write(page.records.map(format.record).join(""));
    written.records += page.records.length;
    written.nextCursor = page.next;
    if (page.next === null || read >= maxPages) break;
    if (clock() - checkedAt >= WATCH_INTERVAL_MS) {
      await checkCaller();
      checkedAt = clock();
    }
    page = await pages(page.next);
  }
  await write(format.end(written.records, written.nextCursor));
  await writer.close();
}

const exportQuery = once(() =>
  z.object({
    format: z._default(z.enum(["jsonl", "csv"]), "jsonl"),
    cursor: cursorOf(isRecordId),
    ...recordFilterShape(),
  }),
);

type ExportCall = Call<"admin"> & { readonly query: z.output<ReturnType<typeof exportQuery>> };

/** Answers with the export, which is written behind the answer. */
async function exportLog(call: ExportCall): Promise<Response> {
  const { caller, now } = call;
  if (caller.kind === "person") await requireAssertion({ ...call, caller });
  const { format: name, cursor, ...query } = call.query;
  const format = FORMATS[name];
  const filter = await toRecordFilter(query, call);
  const log = logOf(call);
  // What is recorded while the export runs is not in it.
  const bounded = { ...filter, to: Math.min(filter.to ?? now, now) };
  const pages: Pages = (at) => searchRecords(log, bounded, { limit: PAGE_SIZE, cursor: at });
  // What fails before the first record is answered with a status.
  const first = await withArchive(pages(cursor));
  const started = await beginExport(call.env, originOf(call), now, { ...call.query });
  if (!started)
    throw unavailable("audit_unavailable", "The export cannot be recorded now, and is not begun. Try again later.");

  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const written: Written = { records: 0, bytes: 0, nextCursor: null };
  const checkCaller = async () => {
    const present = caller.kind === "person" ? await admitPerson(call) : await authenticate(call, 0);
    if (!present?.seesAll) throw new ApiError("insufficient_permissions", "The caller may not read the log any more.");
  };
  const work = async (): Promise<void> => {
    let message = "";
    let isWhole = false;
    try {
      await writeExport(writer, format, { first, pages, checkCaller }, written);
      isWhole = true;
      message = written.nextCursor === null ? "The export is whole." : `The export goes on at ${written.nextCursor}.`;
    } catch (cause) {
      await writer.abort(cause).catch(() => {});
      message = `The export broke off. ${cause instanceof ApiError || cause instanceof ArchiveError ? cause.message : describeBreak(cause)}`;
    }
    const { records, bytes } = written;
    await started.end({ isWhole, records, bytes, durationMs: Date.now() - now, message });
  };
  call.waitUntil(work());
  const headers = {
    "Content-Type": format.contentType,
    "Content-Disposition": `attachment; filename="audit.${name}"`,
    "Cache-Control": "no-store",
  };
  return new Response(readable, { headers });
}

export const auditExportRoutes = [
  route({
    method: "GET",
    path: "/audit/export",
    auth: "admin",
    summary:
      "The audit log as a file, newest first; its last line says how many records it has and, if there are more, at which cursor they go on",
    query: exportQuery,
    mediaTypes: ["application/jsonl", "text/csv"],
    response: () => z.string(),
    handle: exportLog,
  }),
];
