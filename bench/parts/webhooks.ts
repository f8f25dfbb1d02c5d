import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { client, type Counts, type Totals } from "../client.ts";
import { databaseFile } from "../fill.ts";
import { median, significant, sleep, summary } from "../measure.ts";
import { by, claim, type Part } from "../part.ts";
import { PRICES } from "../prices.ts";
import { cpuOf, start } from "../processes.ts";
import { counting, startMiniflare, temporary } from "../product.ts";

const RECEIVERS = 100;
/** Agents whose webhooks they receive. Of 50 events each, none makes more attempts a minute to one host than it may (60). */
const OWNERS = 200;

/** One that is never sent as a count, however many there are in a minute. */
const EVENT = "agent.status_updated";

interface Run {
  readonly perSecond: number;
  /** Milliseconds of Miniflare's processes for each delivery. */
  readonly cpu: number;
  readonly totals: Totals;
  readonly received: Received;
}

interface Received {
  readonly received: number;
  readonly different: number;
  readonly paths: number;
  readonly unsigned: number;
  readonly firstAt: number;
  readonly lastAt: number;
}

/** Events from the outbox to their receivers: how fast, and what each delivery asks of D1 and the queue. */
export const webhooks: Part = async ({ effort, port, log }) => {
  const events = by(effort, 200, 2000, 10_000);
  const runs: Run[] = [];
  for (let repeat = 0; repeat < by(effort, 1, 2, 3); repeat++) {
    runs.push(await run(events, port));
    log(`${runs.at(-1)!.perSecond.toFixed(0)} deliveries a second, ${runs.at(-1)!.cpu.toFixed(2)} ms CPU each`);
  }
  const { totals } = runs.at(-1)!;
  const fanOut = totals.scheduled!;
  const deliveries = totals["agentauth-deliveries"]!;
  const each = (key: keyof Counts) => (fanOut[key] + deliveries[key]) / events;
  const dollars =
    each("rowsRead") * PRICES.rowRead +
    each("rowsWritten") * PRICES.rowWritten +
    each("queueMessages") * PRICES.message +
    (deliveries.batches / events) * PRICES.request;
  const lost = events - Math.min(...runs.map(({ received }) => received.different));
  const doubled = Math.max(...runs.map(({ received }) => received.received - received.different));
  const plain = (value: number) => ({ median: significant(value), low: significant(value), high: significant(value) });
  const work = `${events.toLocaleString("en-US")} events to ${RECEIVERS} receivers`;
  return {
    claims: [
      claim(
        { work, beside: "", figure: "deliveries a second", measured: summary(runs.map(({ perSecond }) => perSecond)) },
        null,
      ),
      claim({ work, beside: "", figure: "ms CPU a delivery", measured: summary(runs.map(({ cpu }) => cpu)) }, null),
      claim({ work, beside: "", figure: "deliveries that did not come", measured: plain(lost) }, 0),
      claim({ work, beside: "", figure: "deliveries that came twice", measured: plain(doubled) }, 0),
      claim({ work, beside: "", figure: "D1 round trips a delivery", measured: plain(each("d1")) }, null),
      claim({ work, beside: "", figure: "queue messages a delivery", measured: plain(each("queueMessages")) }, null),
      claim({ work, beside: "", figure: "rows written a delivery", measured: plain(each("rowsWritten")) }, null),
      claim({ work, beside: "", figure: "$ a million deliveries", measured: plain(dollars) }, null),
    ],
    tables: [
      {
        title: "Operations a delivery",
        head: ["", "D1 round trips", "rows read", "rows written", "queue messages", "messages a batch"],
        rows: [
          ["outbox → deliveries", ...figures(fanOut, events), ""],
          ["delivery", ...figures(deliveries, events), significant(deliveries.messages / deliveries.batches)],
        ],
      },
    ],
    notes: [
      "From a full outbox through the minute's schedule, the deliveries' queue and its consumer to the receivers, every one signed and answered with 200, in Miniflare. Its queue hands one batch at a time to one consumer and its D1 serves one statement at a time: on Cloudflare up to 250 consumers run at once. The throughput is therefore the local simulators', the operations are the product's.",
      `Retries cost one more message and two more D1 round trips each. A queue message is three operations.`,
    ],
    data: {
      runs: runs.map(({ perSecond, cpu, received }) => ({ perSecond, cpu, received })),
      totals,
      cpu: median(runs.map(({ cpu }) => cpu)),
    },
  };
};

const figures = (of: Counts, events: number): number[] =>
  [of.d1, of.rowsRead, of.rowsWritten, of.queueMessages].map((count) => significant(count / events));

async function run(events: number, port: number): Promise<Run> {
  const receiver = await start(process.execPath, [join(import.meta.dirname, "../receiver.ts"), String(port)], port);
  try {
    const persist = mkdtempSync(temporary("webhooks-"));
    const options = { upstreamPort: port, persist, wrap: counting() };
    const preparing = await startMiniflare(port + 1, options);
    const owners: string[] = [];
    try {
      const { agent, call } = client(preparing.port);
      for (let i = 0; i < OWNERS; i++) {
        const { id, token } = await agent(["github:issues:read"]);
        const json = { url: `http://127.0.0.1:${port}/receiver/${i % RECEIVERS}`, events: [EVENT] };
        const { status, body } = await call("/webhooks", { method: "POST", token, json });
        if (status !== 201) throw new Error(`the webhook was not taken: ${status} ${JSON.stringify(body)}`);
        owners.push(id);
      }
    } finally {
      await preparing.stop();
    }
    fillOutbox(databaseFile(persist, "events"), owners, events);

    const server = await startMiniflare(port + 1, options);
    try {
      const { call, totals } = client(server.port);
      const before = cpuOf(server.pid);
      const began = Date.now();
      // Not waited for: deliveries begin while the outbox is still being emptied.
      const scheduled = call(`/bench/behind?at=${began}`, { method: "POST" });
      const received = await whenAll(port, events);
      const cpu = (cpuOf(server.pid) - before) / received.received;
      await scheduled;
      await sleep(1500);
      const seconds = (received.lastAt - began) / 1000;
      return { perSecond: received.received / seconds, cpu, totals: await totals(), received };
    } finally {
      await server.stop();
    }
  } finally {
    await receiver.stop();
  }
}

/** Events as the product writes them, waiting for the schedule. */
function fillOutbox(file: string, owners: readonly string[], events: number): void {
  const db = new Database(file);
  const insert = db.prepare("INSERT INTO events (id, agent_id, event, at, data) VALUES (?, ?, ?, ?, ?)");
  const now = Date.now();
  db.transaction(() => {
    for (let i = 0; i < events; i++) {
      const owner = owners[i % owners.length]!;
      const id = `evt_${now.toString(16).padStart(12, "0")}7${crypto.randomUUID().replaceAll("-", "").slice(0, 19)}`;
      const data = {
        agent_id: owner,
        status: "active",
        previous_status: "suspended",
        updated_at: new Date(now).toISOString(),
      };
      insert.run(id, owner, EVENT, now, JSON.stringify(data));
    }
  })();
  db.pragma("wal_checkpoint(TRUNCATE)");
  db.close();
}

/** Waits until so many deliveries have come. */
async function whenAll(port: number, events: number): Promise<Received> {
  let last: Received | undefined;
  for (let tries = 0; tries < 600; tries++) {
    await sleep(500);
    last = (await (await fetch(`http://127.0.0.1:${port}/counts`)).json()) as Received;
    if (last.different >= events) return last;
  }
  throw new Error(`after five minutes only ${JSON.stringify(last)} of ${events} had come`);
}
