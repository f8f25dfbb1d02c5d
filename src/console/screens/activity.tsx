import { useState } from "preact/hooks";
import type { AuditAction, AuditRecord, AuditRecordResponse } from "../../client/wire.ts";
import { changesOf } from "../changes.ts";
import type { Line } from "../draft-grants.ts";
import { useLiveRecords } from "../live.ts";
import { useLoad } from "../load.ts";
import { actorOf, FILTERS, searchedFilter, type RecordFilter } from "../records.ts";
import { read, readFile, segment } from "../request.ts";
import { navigate, query, setQuery } from "../router.ts";
import { seesAll } from "../state.ts";
import { number, plural } from "../text.ts";
import {
  ActionButton,
  Button,
  Card,
  ChangeLines,
  Choice,
  Copyable,
  Dialog,
  Empty,
  Facts,
  Field,
  PageHead,
  Quoted,
  Ready,
  Rows,
  saveFile,
  Search,
  Time,
} from "../ui.tsx";
import { OutcomeBadge, RecordTable } from "./record-table.tsx";

/** Everything that the log records: put in place by the build, from the Worker's own list. */
declare const AUDIT_ACTIONS: readonly AuditAction[];

const HOUR = 3_600_000;

/** Spans of time that can be chosen. What has a beginning only goes on to now. */
const SPANS = [
  { value: "", label: "Any time" },
  { value: "1", label: "Last hour" },
  { value: "24", label: "Last 24 hours" },
  { value: "168", label: "Last 7 days" },
  { value: "720", label: "Last 30 days" },
];
const OUTCOMES = [
  { value: "", label: "Any outcome" },
  { value: "success", label: "Success" },
  { value: "denied", label: "Denied" },
  { value: "failed", label: "Failed" },
  { value: "unknown", label: "Unknown" },
];

/** Filters beside those that always stand there. */
const MORE = [
  ["agent_id", "Agent’s id"],
  ["actor", "Actor’s id"],
  ["service", "Service"],
  ["method", "Method"],
  ["path", "Beginning of the path"],
  ["permission", "Permission"],
  ["key_id", "Key’s id"],
  ["session_id", "Session’s id"],
  ["request_id", "Request’s id"],
  ["ip", "Address"],
] as const;

/** The filter of the address. A search in texts without an agent is for the last 24 hours, as the API asks. */
function filterOf(params: URLSearchParams): RecordFilter {
  const filter = Object.fromEntries(
    FILTERS.flatMap((name) => (params.get(name) ? [[name, params.get(name)!]] : [])),
  ) as RecordFilter;
  const unindexed = filter.q || filter.ip || filter.path;
  if (unindexed && !filter.agent_id && !filter.from && seesAll.value) {
    return { ...filter, from: new Date(Math.floor(Date.now() / 60_000) * 60_000 - 24 * HOUR + 60_000).toISOString() };
  }
  return filter;
}

export function Activity({ id }: { id?: string }) {
  const filter = filterOf(query.value);
  const key = query.value.toString();
  const list = useLiveRecords(`audit ${key}`, filter);
  const [showsMore, setShowsMore] = useState(MORE.some(([name]) => query.value.has(name)));
  const set = (name: string, value: string) => setQuery({ [name]: value || undefined });
  const span = SPANS.find(({ value }) => value !== "" && value === query.value.get("span"))?.value ?? "";
  const isFiltered = key !== "";
  const address = (record?: string) => {
    const path = record ? `/console/activity/${segment(record)}` : "/console/activity";
    return key ? `${path}?${key}` : path;
  };
  return (
    <>
      <PageHead
        title="Activity"
        sub={
          list.data &&
          (list.isLive
            ? "Live. What is done appears here within seconds."
            : "Paused. What is done now does not appear.")
        }
      >
        <Button aria-pressed={list.isLive} onClick={() => list.setLive(!list.isLive)}>
          {list.isLive ? "Pause" : "Go live"}
        </Button>
        {seesAll.value && <Export filter={filter} />}
      </PageHead>
      <div class="filters" role="search">
        <Search
          label="Path, message, agent’s id, request id"
          value={query.value.get("q") ?? query.value.get("request_id") ?? ""}
          search={(text) => setQuery({ q: undefined, request_id: undefined, ...searchedFilter(text) })}
        />
        <Choice
          label="Time"
          value={span}
          options={SPANS}
          choose={(hours) =>
            setQuery({
              span: hours || undefined,
              from: hours
                ? new Date(Math.floor(Date.now() / 60_000) * 60_000 - Number(hours) * HOUR).toISOString()
                : undefined,
              to: undefined,
            })
          }
        />
        <Choice
          label="Action"
          value={query.value.get("action") ?? ""}
          options={[{ value: "", label: "Any action" }, ...AUDIT_ACTIONS.map((value) => ({ value, label: value }))]}
          choose={(value) => set("action", value)}
        />
        <Choice
          label="Outcome"
          value={query.value.get("outcome") ?? ""}
          options={OUTCOMES}
          choose={(value) => set("outcome", value)}
        />
        <Button aria-expanded={showsMore} onClick={() => setShowsMore(!showsMore)}>
          More filters
        </Button>
        {isFiltered && (
          <a class="btn" href="/console/activity">
            Clear
          </a>
        )}
      </div>
      {showsMore && (
        <div class="card">
          <div class="body more-filters">
            {MORE.map(([name, label]) => (
              <Field label={label}>
                {(field) => (
                  <input
                    id={field}
                    class="mono"
                    value={query.value.get(name) ?? ""}
                    onChange={(event) => set(name, event.currentTarget.value.trim())}
                  />
                )}
              </Field>
            ))}
          </div>
        </div>
      )}
      <p class="visually-hidden" aria-live="polite">
        {list.fresh.size > 0 && `${plural(list.fresh.size, "new record")}.`}
      </p>
      <Card pad={false}>
        <Rows
          of={list}
          empty={
            isFiltered ? (
              <Empty title="No record matches.">
                <a href="/console/activity">Show all records</a>
              </Empty>
            ) : (
              <Empty title="Nothing has happened yet.">Every call of an agent and every change is a record here.</Empty>
            )
          }
        >
          {(records) => <RecordTable records={records} fresh={list.fresh} />}
        </Rows>
      </Card>
      {id && (
        <RecordDrawer
          key={id}
          id={id}
          known={list.data?.rows.find((one) => one.id === id)}
          close={() => navigate(address())}
        />
      )}
    </>
  );
}

/** Keeps a file of the records that the filters select. */
function Export({ filter }: { filter: RecordFilter }) {
  const [isOpen, setOpen] = useState(false);
  const save = (format: "jsonl" | "csv") => async () => {
    saveFile(await readFile("/audit/export", { ...filter, format }), `agentauth-audit.${format}`);
    setOpen(false);
  };
  return (
    <>
      <Button onClick={() => setOpen(true)}>Export</Button>
      {isOpen && (
        <Dialog title="Export" close={() => setOpen(false)}>
          <p>
            All records that the filters select, also those that were not loaded here. You confirm it with your passkey
            if you are asked to. The export is itself a record.
          </p>
          <div class="actions">
            <ActionButton kind="primary" work={save("jsonl")}>
              JSON lines
            </ActionButton>
            <ActionButton work={save("csv")}>CSV, for a spreadsheet</ActionButton>
          </div>
        </Dialog>
      )}
    </>
  );
}

/** One record, whole. @param known what the list has of it. */
function RecordDrawer({ id, known, close }: { id: string; known: AuditRecord | undefined; close: () => void }) {
  const loaded = useLoad(
    `record ${id}`,
    async (signal) => known ?? (await read<AuditRecordResponse>(`/audit/${segment(id)}`, {}, signal)).record,
  );
  return (
    <Dialog title="Record" close={close} drawer>
      <div>
        <Ready of={loaded} lines={8}>
          {(record) => <WholeRecord record={record} />}
        </Ready>
      </div>
    </Dialog>
  );
}

function WholeRecord({ record }: { record: AuditRecord }) {
  const text = (name: string, value: string | number | null) =>
    value !== null && ([name, <Quoted text={String(value)} most={600} />] as const);
  const id = (name: string, value: string | null) => value !== null && ([name, <Copyable value={value} />] as const);
  return (
    <>
      <p>
        <OutcomeBadge record={record} /> <b class="mono">{record.action}</b>
      </p>
      <Facts
        rows={[
          ["When", <Time at={record.at} exact />],
          ["Who", <Quoted text={actorOf(record)} most={200} />],
          record.actor !== null && record.actor.id !== null && ["Actor", <Copyable value={record.actor.id} />],
          record.agent_id !== null && [
            "Agent",
            <>
              <Copyable value={record.agent_id} />{" "}
              <a class="s" href={`/console/agents/${segment(record.agent_id)}`}>
                Open
              </a>
            </>,
          ],
          record.act.length > 0 && [
            "Acting",
            <Quoted text={record.act.map(({ sub }) => sub).join(" → ")} most={300} />,
          ],
          text("Message", record.message),
          text("Service", record.service),
          text("Method", record.method),
          record.path !== null && [
            "Path",
            <span class="mono">
              <Quoted text={record.path} most={1000} />
            </span>,
          ],
          record.rule !== null && [
            "Rule",
            <span class="mono">
              <Quoted text={record.rule} />
            </span>,
          ],
          record.permission !== null && [
            "Needed",
            <span class="mono">
              <Quoted text={record.permission} />
            </span>,
          ],
          text("Upstream’s status", record.upstream_status),
          record.duration_ms !== null && ["Took", `${record.duration_ms} ms`],
          text("Bytes in", record.bytes_in),
          text("Bytes out", record.bytes_out),
          text("Represents", record.count),
          id("Address", record.ip_address),
          id("Request", record.request_id),
          id("Key", record.key_id),
          id("Session", record.session_id),
          ["Record", <Copyable value={record.id} />],
        ]}
      />
      <Changes before={record.before} after={record.after} />
      <p class="hint">The address of this page is a link to this record, for everybody who may read it.</p>
    </>
  );
}

/** As many lines of one field are shown at first. */
const MAX_LINES = 20;

function Changes({ before, after }: Pick<AuditRecord, "before" | "after">) {
  const changes = changesOf(before, after);
  if (changes.length === 0) return null;
  return (
    <>
      <h3>{before === null ? "What was set" : after === null ? "What it was" : "Before and after"}</h3>
      <Facts
        rows={changes.map(({ name, lines }) => [
          <Quoted text={name} most={100} brief />,
          <ChangedLines lines={lines} />,
        ])}
      />
    </>
  );
}

/** The lines of a field; of many those that a change has touched first. */
function ChangedLines({ lines }: { lines: readonly Line[] }) {
  const [isWhole, setWhole] = useState(false);
  const touched = lines.filter(({ kind }) => kind !== "same");
  const shown =
    isWhole || lines.length <= MAX_LINES ? lines : (touched.length > 0 ? touched : lines).slice(0, MAX_LINES);
  return (
    <>
      <ChangeLines lines={shown} />
      {lines.length === 0 && <span class="faint">none</span>}
      {shown.length < lines.length && (
        <button type="button" class="link" onClick={() => setWhole(true)}>
          Show all ({number(lines.length)} lines)
        </button>
      )}
    </>
  );
}
