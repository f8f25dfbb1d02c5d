import type {
  AllDeliveriesResponse,
  AuditCountsResponse,
  AuditResponse,
  EndingKeyListResponse,
  HealthDetailsResponse,
} from "../../client/wire.ts";
import { listAgents, readWaiting } from "../agents.ts";
import { compareDays, drawCalls } from "../call-chart.ts";
import { failingWebhooks, type Failing } from "../deliveries.ts";
import { useList, useLoad } from "../load.ts";
import { read, segment } from "../request.ts";
import { decided, isAdmin, seesAll, waiting } from "../state.ts";
import { number, plural } from "../text.ts";
import { Badge, Card, Empty, PageHead, Quoted, Ready, Rows, Time } from "../ui.tsx";
import { AgentTable } from "./agent-list.tsx";
import { WaitingRow } from "./approvals.tsx";
import { RecordTable } from "./record-table.tsx";

const REFRESH_MS = 30_000;

export const Home = () => (seesAll.value ? <EverybodysHome /> : <OwnersHome />);

function EverybodysHome() {
  const pending = useList(`waiting ${decided.value}`, readWaiting, REFRESH_MS);
  const failed = useLoad(
    "failed deliveries",
    (signal) => read<AllDeliveriesResponse>("/deliveries", { status: "failed", limit: 50 }, signal),
    REFRESH_MS,
  );
  const failing = failingWebhooks(failed.data?.deliveries ?? []);
  const count = (pending.data?.rows.length ?? 0) + failing.length;
  const isKnown = pending.data !== undefined && failed.data !== undefined;
  return (
    <>
      <PageHead
        title="Home"
        sub={
          isKnown &&
          (count === 0 ? "Nothing waits for you." : `${plural(count, "thing waits", "things wait")} for you.`)
        }
      >
        {isAdmin.value && (
          <a class="btn primary" href="/console/agents/new">
            Register an agent
          </a>
        )}
      </PageHead>
      <Tiles />
      <div class="grid two">
        <Card title="Waiting for you" pad={false}>
          <Ready of={pending} lines={4}>
            {({ rows, next }) => (
              <>
                {rows.slice(0, 10).map((row) => (
                  <WaitingRow key={row.agent.agent_id} row={row} />
                ))}
                {(rows.length > 10 || next !== null) && (
                  <p class="pad">
                    <a href="/console/approvals">All registrations that wait</a>
                  </p>
                )}
                {failing.map((one) => (
                  <FailingWebhook key={one.webhookId} {...one} />
                ))}
                {rows.length === 0 && failing.length === 0 && isKnown && (
                  <Empty title="Nothing waits for you.">
                    Registrations and webhooks that keep failing appear here.
                  </Empty>
                )}
              </>
            )}
          </Ready>
        </Card>
        <div class="stackgap">
          <Calls />
          <EndingKeys />
          <Health />
        </div>
      </div>
    </>
  );
}

const readCounts = (signal: AbortSignal) => read<AuditCountsResponse>("/audit/counts", { hours: 48 }, signal);

/** The last day in numbers, beside the day before. */
function Tiles() {
  const counts = useLoad("counts", readCounts, REFRESH_MS);
  const active = useLoad(
    `active ${decided.value}`,
    (signal) => listAgents({ status: "active", limit: 1 }, undefined, signal),
    REFRESH_MS,
  );
  const days = counts.data && compareDays(counts.data.hours);
  return (
    <div class="grid tiles">
      <a class="card tile" href="/console/activity?action=gateway.call">
        <div class="k">Calls, 24 h</div>
        <div class="v">{days ? number(days.calls) : "–"}</div>
        <div class="d">{days ? (days.change ?? "none on the day before") : "being read"}</div>
      </a>
      <a class="card tile" href="/console/activity?action=gateway.call&outcome=denied">
        <div class="k">Denied</div>
        <div class="v">{days ? number(days.denied) : "–"}</div>
        <div class="d">{days ? `${days.deniedShare} of all calls` : "being read"}</div>
      </a>
      <a class="card tile" href="/console/activity?action=gateway.call&outcome=failed">
        <div class="k">Failed</div>
        <div class="v">{days ? number(days.failed) : "–"}</div>
        <div class="d">by the upstream, or on the way</div>
      </a>
      <a class="card tile" href="/console/agents?status=active">
        <div class="k">Active agents</div>
        <div class="v">{active.data?.total === undefined ? "–" : number(active.data.total)}</div>
        <div class="d">{waiting.value ? `${waiting.value} pending` : "none pending"}</div>
      </a>
    </div>
  );
}

/** Calls as a line and denials as bars, hour by hour. */
function Calls() {
  const counts = useLoad("counts", readCounts, REFRESH_MS);
  return (
    <Card title="Calls and denials" action={<span class="sub">24 h</span>}>
      <Ready of={counts} lines={4}>
        {({ hours }) => {
          const { line, bars, most } = drawCalls(hours.slice(-24));
          const said = compareDays(hours);
          return (
            <div class="chart">
              <svg
                viewBox="0 0 720 150"
                preserveAspectRatio="none"
                role="img"
                aria-label={`In the last 24 hours ${plural(said.calls, "call")}, of which ${number(said.denied)} denied. At most ${plural(most, "call")} in an hour.`}
              >
                {[10, 75, 140].map((y) => (
                  <line x1="0" x2="720" y1={y} y2={y} class="rule" />
                ))}
                {bars.map(({ x, y, height }) => (
                  <rect x={x} y={y} width="12" height={height} class="denied" />
                ))}
                <path d={line} class="calls" />
              </svg>
              <div class="legend">
                <span class="calls">
                  <i />
                  Calls, at most {number(most)} an hour
                </span>
                <span class="denied">
                  <i />
                  Denied
                </span>
              </div>
            </div>
          );
        }}
      </Ready>
    </Card>
  );
}

const FailingWebhook = ({ webhookId, deliveries, last }: Failing) => (
  <div class="wait">
    <div class="i" aria-hidden="true">
      ↻
    </div>
    <div>
      <div>
        A webhook keeps failing: <span class="mono">{webhookId.slice(0, 12)}…</span>
      </div>
      <div class="s">
        {plural(deliveries, "delivery", "deliveries")} given up · last{" "}
        {last.response_status ?? <Quoted text={last.error ?? "without an answer"} most={80} />} ·{" "}
        <Time at={last.updated_at} />
      </div>
    </div>
    <a class="btn small" href={`/console/webhooks/${segment(webhookId)}`}>
      Open
    </a>
  </div>
);

/** How long before its end a key is shown, in days. */
const ENDING_DAYS = 14;

/** The API keys that end soon: of everybody's agents, or of an owner's. */
function EndingKeys() {
  const list = useList(`ending keys ${decided.value}`, async (cursor, signal) => {
    const page = await read<EndingKeyListResponse>("/keys", { days: ENDING_DAYS, limit: 10, cursor }, signal);
    return { rows: page.keys.map((key) => ({ key, of: page.details[key.id]! })), next: page.next_cursor };
  });
  return (
    <Card title="Keys about to end" pad={false} action={<span class="sub">{ENDING_DAYS} days</span>}>
      <Rows of={list} lines={2} empty={<p class="faint pad">No key ends within {ENDING_DAYS} days.</p>}>
        {(rows) => (
          <ul class="list">
            {rows.map(({ key, of }) => (
              <li key={key.id}>
                <div>
                  <a class="t" href={`/console/agents/${segment(of.agent_id)}`}>
                    <Quoted text={of.agent_name} most={100} brief />
                  </a>
                  <div class="s">
                    {key.label !== null && (
                      <>
                        <Quoted text={key.label} most={60} /> ·{" "}
                      </>
                    )}
                    <span class="mono">…{key.hint}</span> · used <Time at={key.last_used_at} />
                  </div>
                </div>
                <span class="s">
                  ends <Time at={key.expires_at} />
                </span>
              </li>
            ))}
          </ul>
        )}
      </Rows>
    </Card>
  );
}

const PART_NAMES: Readonly<Record<string, string>> = {
  database: "Identity database",
  revocations: "Revocations",
  migrations: "Migrations",
  events: "Webhook events",
  deliveries: "Deliveries",
  audit_outbox: "Audit log, on its way",
  audit_database: "Audit log",
  audit_archive: "Audit archive",
  otlp: "OpenTelemetry",
};
const PART_TONES = { ok: "good", lagging: "warn", failing: "bad", off: "mute" } as const;
const WORDS = { ok: "All parts answer", lagging: "Something lags", failing: "Something fails" } as const;

/** How each part of the deployment does, what lags, and what to do. */
export function Health() {
  const health = useLoad("health", (signal) => read<HealthDetailsResponse>("/health/details", {}, signal), REFRESH_MS);
  return (
    <Card
      title="Health"
      pad={false}
      action={health.data && <Badge tone={PART_TONES[health.data.status]}>{WORDS[health.data.status]}</Badge>}
    >
      <Ready of={health} lines={5}>
        {({ parts }) => (
          <ul class="list">
            {parts.map((part) => (
              <li>
                <div>
                  <div>{PART_NAMES[part.name] ?? part.name}</div>
                  {part.message && (
                    <div class="s">
                      <Quoted text={part.message} most={300} />
                    </div>
                  )}
                  {part.status !== "ok" && part.since && (
                    <div class="s">
                      since <Time at={part.since} />
                    </div>
                  )}
                  {Object.keys(part.numbers).length > 0 && (
                    <div class="s">
                      {Object.entries(part.numbers)
                        .map(([name, value]) => `${name.replaceAll("_", " ")} ${number(value)}`)
                        .join(" · ")}
                    </div>
                  )}
                </div>
                <Badge tone={PART_TONES[part.status]}>{part.status}</Badge>
              </li>
            ))}
          </ul>
        )}
      </Ready>
    </Card>
  );
}

function OwnersHome() {
  return (
    <>
      <PageHead title="Home" sub="The agents that are yours." />
      <div class="stackgap">
        <OwnAgents />
        <Denials />
        <EndingKeys />
      </div>
    </>
  );
}

/** What an owner's agents were refused last. Reading the log is recorded, so that this is read once and not over and over. */
function Denials() {
  const list = useList("own denials", async (_, signal) => {
    const { records } = await read<AuditResponse>("/audit", { ...DENIED, limit: 5 }, signal);
    return { rows: records, next: null };
  });
  return (
    <Card
      title="Denied last"
      pad={false}
      action={<a href={`/console/activity?${new URLSearchParams(DENIED).toString()}`}>All of them</a>}
    >
      <Rows of={list} lines={2} empty={<p class="faint pad">None of your agents’ calls was denied.</p>}>
        {(records) => <RecordTable records={records} />}
      </Rows>
    </Card>
  );
}

const DENIED = { action: "gateway.call", outcome: "denied" };

function OwnAgents() {
  const list = useList(`own ${decided.value}`, (cursor, signal) => listAgents({}, cursor, signal));
  return (
    <Card title="Your agents" pad={false}>
      <Rows of={list} empty={<Empty title="No agent is yours.">An administrator says whose an agent is.</Empty>}>
        {(rows) => <AgentTable rows={rows} />}
      </Rows>
    </Card>
  );
}
