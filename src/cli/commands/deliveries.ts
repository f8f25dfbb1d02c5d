import type { Delivery, DeliveryEvent, DeliveryHistoryResponse, RedeliverAllRequest } from "../../client/wire.ts";
import { readTime } from "../arguments.ts";
import { show, type Call, type Command } from "../command.ts";
import { usage } from "../failure.ts";
import { noteMore, readRows, wantedRows } from "../paging.ts";
import { fields, table } from "../table.ts";
import { confirm, progress } from "../terminal.ts";
import { visible } from "../visible.ts";

function filterOf({ values }: Call): RedeliverAllRequest["filter"] {
  const now = Date.now();
  const [since, until] = [values.text("since"), values.text("until")];
  return {
    webhook_id: values.text("webhook"),
    agent_id: values.text("id"),
    event: values.text("event") as DeliveryEvent | undefined,
    ...(values.has("failed") && { status: "failed" }),
    from: since && readTime(since, "since", now),
    to: until && readTime(until, "until", now),
  };
}

/** Starts again what the filter selects: counted first, then asked. */
async function redeliverAll(call: Call): Promise<void> {
  const { client } = await call.connect();
  const filter = filterOf(call);
  let matched = 0;
  let cursor: string | undefined;
  do {
    const page = await client.redeliverAll({ filter, cursor }, call);
    matched += page.matched;
    cursor = page.next_cursor ?? undefined;
  } while (cursor);
  if (call.values.has("dry-run") || matched === 0) {
    show(call, { dry_run: true, matched, redelivered: 0 }, () => `${matched} deliveries would be started again.`);
    return;
  }
  await confirm(call.terminal, `Start ${matched} deliveries again?`, { isConfirmed: call.values.has("yes") });
  const shown = progress(call.terminal);
  let redelivered = 0;
  cursor = undefined;
  for (;;) {
    const page = await client.redeliverAll({ filter, dry_run: false, cursor }, call);
    redelivered += page.redelivered;
    shown.show(`${redelivered} of ${matched} deliveries`);
    // What one call has left is for the next one, from the same place on.
    if (page.remaining > 0 && page.redelivered > 0) continue;
    if (page.next_cursor === null) break;
    cursor = page.next_cursor;
  }
  shown.end();
  show(call, { matched, redelivered }, () => `${redelivered} deliveries are started again.`);
}

const columns = (deliveries: readonly Delivery[], call: Call): string =>
  table(
    ["ID", "WEBHOOK", "EVENT", "STATUS", "TRIES", "ANSWER", "AT"],
    deliveries.map(({ id, webhook_id, event, status, attempts, response_status, error, created_at }) => [
      id,
      webhook_id,
      event,
      status,
      attempts,
      error ?? response_status,
      created_at,
    ]),
    call.terminal.stdout.columns,
  );

/** One delivery with its attempts, the oldest first. */
function historyOf({ delivery, request_body, attempts }: DeliveryHistoryResponse, { terminal }: Call): string {
  const { id, webhook_id, event, agent_id, status, next_attempt_at, created_at } = delivery;
  const about = fields({
    id,
    webhook: webhook_id,
    event,
    agent: agent_id,
    status,
    created: created_at,
    "next attempt": next_attempt_at,
    sends: request_body ?? "(not shown to you)",
  });
  const rows = attempts.map(({ number, at, duration_ms, response_status, response_body, error }) => [
    number,
    at,
    `${duration_ms} ms`,
    error ?? response_status,
    response_body,
  ]);
  const made = table(["TRY", "AT", "TOOK", "ANSWER", "BODY"], rows, terminal.stdout.columns);
  return `${about}\n\n${rows.length === 0 ? "No attempt has ended." : made}`;
}

const FILTERS = ["failed", "webhook", "event", "id", "since", "until"] as const;

export const deliveryCommands: readonly Command[] = [
  {
    path: ["deliveries", "list"],
    takes: "",
    words: { min: 0, max: 0 },
    summary: "List deliveries of webhooks, the newest first",
    options: [...FILTERS, "limit", "all"],
    async run(call) {
      const { client } = await call.connect();
      const filter = filterOf(call);
      const { rows, hasMore } = await readRows(wantedRows(call), 100, async (limit, cursor) => {
        const { webhook_id, status, ...others } = filter;
        const isPlain = Object.values(others).every((value) => value === undefined);
        // An agent lists the deliveries of a webhook of its own; everybody's are for administrators.
        const page =
          webhook_id !== undefined && isPlain
            ? await client.listDeliveries(webhook_id, { limit, status, cursor }, call)
            : await client.listAllDeliveries({ limit, cursor, ...filter }, call);
        return { rows: page.deliveries, next: page.next_cursor };
      });
      show(call, { deliveries: rows, has_more: hasMore }, () =>
        rows.length === 0 ? "There is no such delivery." : columns(rows, call),
      );
      noteMore(call, hasMore);
    },
  },
  {
    path: ["deliveries", "show"],
    takes: "WEBHOOK_ID DELIVERY_ID",
    words: { min: 2, max: 2 },
    summary: "Show what a delivery sends, and what came of each attempt",
    options: [],
    async run(call) {
      const { client } = await call.connect();
      const [webhook = "", id = ""] = call.words;
      const answer = await client.getDelivery(webhook, id, call);
      show(call, answer, () => historyOf(answer, call));
    },
  },
  {
    path: ["deliveries", "redeliver"],
    takes: "[WEBHOOK_ID DELIVERY_ID]",
    words: { min: 0, max: 2 },
    summary: "Start one delivery again, or with --failed all that failed",
    options: [...FILTERS, "dry-run", "yes"],
    async run(call) {
      const [webhook, delivery] = call.words;
      if (webhook === undefined) {
        if (!call.values.has("failed")) throw usage("Name a delivery as WEBHOOK_ID DELIVERY_ID, or give --failed.");
        return redeliverAll(call);
      }
      if (delivery === undefined) throw usage("A delivery is named as WEBHOOK_ID DELIVERY_ID.");
      const { client } = await call.connect();
      const answer = await client.redeliver(webhook, delivery, call);
      show(call, answer, () => visible(answer.message));
    },
  },
];
