import { open, rm, type FileHandle } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { AuditAction, AuditOutcome, AuditQuery, AuditRecord } from "../../client/wire.ts";
import { toError } from "../../client/errors.ts";
import { fetchWithin, parseJson } from "../../client/transport.ts";
import { readTime } from "../arguments.ts";
import { show, type Call, type Command } from "../command.ts";
import { EXIT, Failure, usage } from "../failure.ts";
import { noteMore, readRows, wantedRows } from "../paging.ts";
import { table, type Cell } from "../table.ts";
import { visible, visibleJson } from "../visible.ts";

type Filter = Omit<AuditQuery, "cursor" | "limit">;

function filterOf({ values, words }: Call, now: number): Filter {
  const [since, until] = [values.text("since"), values.text("until")];
  return {
    agent_id: words[0],
    action: values.text("action") as AuditAction | undefined,
    outcome: values.text("outcome") as AuditOutcome | undefined,
    service: values.text("service"),
    q: values.text("search"),
    from: since && readTime(since, "since", now),
    to: until && readTime(until, "until", now),
  };
}

/** What was done, in a few words: of a call its request, of anything else its message. */
const whatOf = ({ method, path, service, message }: AuditRecord): string =>
  [service, method, path ?? message].filter(Boolean).join(" ");

const cells = (record: AuditRecord): Cell[] => [
  record.at,
  record.outcome,
  record.action,
  record.actor?.name ?? record.actor?.type ?? "a stranger",
  record.agent_id,
  whatOf(record),
];

/** One record as a line, for a stream of them, whose columns cannot be measured beforehand. */
const lineOf = (record: AuditRecord): string =>
  cells(record)
    .map((cell) => visible(String(cell ?? "-")))
    .join("  ");

const POLL_MS = 3000;
/** Records of one moment come in over so long: a call is recorded behind its answer, and moved by a queue. */
const LATE_MS = 120_000;
const FIRST_RECORDS = 10;

/**
 * Shows what happens, the oldest first, until it is interrupted. Reads back a little further than what it has shown, and shows each
 * record once: they do not come in in the order of their times. Reading the log is itself recorded, and such records are
 * left out unless they are asked for.
 */
async function follow(call: Call): Promise<void> {
  const { client } = await call.connect();
  const filter = filterOf(call, Date.now());
  const { signal } = call;
  let seen = new Map<string, string>();
  let from = filter.from;
  let isFirst = true;
  for (;;) {
    const wanted = isFirst && filter.from === undefined ? FIRST_RECORDS : Infinity;
    const { rows } = await readRows(wanted, 200, async (limit, cursor) => {
      const page = await client.getAudit({ ...filter, from, limit, cursor }, call);
      return { rows: page.records, next: page.next_cursor };
    });
    const fresh = rows.filter(
      ({ id, action }) => !seen.has(id) && (action !== "audit.read" || filter.action === action),
    );
    for (const record of fresh.toReversed()) {
      if (call.isJson) call.print(visibleJson(record));
      else call.print(lineOf(record));
    }
    for (const { id, at } of rows) seen.set(id, at);
    const horizon = new Date(Date.now() - LATE_MS).toISOString();
    from = filter.from !== undefined && filter.from > horizon ? filter.from : horizon;
    seen = new Map([...seen].filter(([, at]) => at >= horizon));
    isFirst = false;
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** A new file that only its user reads. @throws {Failure} if there is one already. */
async function createFile(file: string): Promise<ReturnType<FileHandle["createWriteStream"]>> {
  try {
    return (await open(file, "wx", 0o600)).createWriteStream();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const what = code === "EEXIST" ? "exists already" : `cannot be written (${code})`;
    throw new Failure(EXIT.failed, "file_not_written", `${visible(file)} ${what}. Name another file with --output.`);
  }
}

/** The media type of each format. */
const TYPES: Readonly<Record<string, string>> = { jsonl: "application/jsonl", csv: "text/csv" };

/** Streams an export into a file or to standard output; a long one goes on by its cursor in further requests. */
async function exportLog(call: Call, format: string): Promise<void> {
  const connection = await call.connect();
  const { terminal, values, signal, timeout } = call;
  const file = values.text("output");
  // What is signed is written as it is, with all that a terminal would act on.
  if (file === undefined && terminal.stdout.isTTY) {
    throw usage("An export is for a file or another program: give --output FILE, or a pipe.");
  }
  // Never over a file that is there: an export is evidence.
  const target = file === undefined ? terminal.stdout : await createFile(file);
  const query = Object.entries({ ...filterOf(call, Date.now()), format }).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  let cursor: string | undefined;
  let bytes = 0;
  do {
    const parameters = new URLSearchParams([...query, ...(cursor === undefined ? [] : [["cursor", cursor]])]);
    const url = `${connection.url}/audit/export?${parameters}`;
    const headers = { authorization: `Bearer ${await connection.token()}` };
    let response: Response;
    try {
      response = await fetchWithin(
        { baseUrl: connection.url, timeout, fetch },
        url,
        { headers },
        [signal],
        (head) => head,
      );
      const isExport = response.ok && response.headers.get("content-type")?.startsWith(TYPES[format] ?? "") === true;
      if (!isExport || !response.body) throw toError(response, parseJson(await response.text()), url);
    } catch (error) {
      if (file !== undefined && bytes === 0) {
        target.destroy();
        await rm(file);
      }
      throw error;
    }
    let tail = "";
    const watch = async function* (source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      for await (const chunk of source) {
        bytes += chunk.length;
        tail = (tail + Buffer.from(chunk).toString("latin1")).slice(-2000);
        yield chunk;
      }
    };
    await pipeline(Readable.fromWeb(response.body as never), watch, target, { end: false, signal });
    cursor = nextCursor(tail, format);
  } while (cursor !== undefined);
  if (file !== undefined) {
    await new Promise<void>((resolve, reject) => {
      target.once("error", reject);
      target.end(resolve);
    });
    call.note(`${bytes} bytes are written to ${visible(file)}.`);
  }
}

/** Where an export goes on. @throws {Failure} for one without its last line, which was cut off. */
function nextCursor(tail: string, format: string): string | undefined {
  const last = tail.trimEnd().split("\n").at(-1) ?? "";
  if (format === "jsonl") {
    try {
      const { end } = JSON.parse(last) as { end?: { next_cursor: string | null } };
      if (end) return end.next_cursor ?? undefined;
    } catch {
      // Said below.
    }
  } else if (/End: \d+ records\./.test(last)) {
    return /They go on at cursor (\S+)\. /.exec(last)?.[1];
  }
  throw new Failure(
    EXIT.failed,
    "export_cut_off",
    "The export broke off before its end, so the file is not whole. Delete it, and run the command again.",
  );
}

export const activityCommands: readonly Command[] = [
  {
    path: ["activity"],
    takes: "[AGENT_ID]",
    words: { min: 0, max: 1 },
    summary: "Show the audit log, the newest first; follow it, or export it",
    options: ["follow", "since", "until", "action", "outcome", "service", "search", "limit", "all", "export", "output"],
    async run(call) {
      const { values } = call;
      const format = values.text("export");
      if (values.has("follow")) {
        if (format !== undefined || values.text("until") !== undefined) {
          throw usage("--follow goes on without end: it has no --export and no --until.");
        }
        return follow(call);
      }
      if (format !== undefined) return exportLog(call, format);
      if (values.text("output") !== undefined)
        throw usage("--output is for an export: give --export jsonl or csv too.");
      const { client } = await call.connect();
      const filter = filterOf(call, Date.now());
      const { rows, hasMore } = await readRows(wantedRows(call), 200, async (limit, cursor) => {
        const page = await client.getAudit({ ...filter, limit, cursor }, call);
        return { rows: page.records, next: page.next_cursor };
      });
      show(call, { records: rows, has_more: hasMore }, () =>
        rows.length === 0
          ? "Nothing of that is in the log."
          : table(["AT", "OUTCOME", "ACTION", "BY", "AGENT", "WHAT"], rows.map(cells), call.terminal.stdout.columns),
      );
      noteMore(call, hasMore);
    },
  },
];
