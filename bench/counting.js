/*
 * Stands before the bundle and counts what it asks of its bindings, for requests with the header `x-bench-count`, for the
 * queue's consumers and for the schedule. Other requests pass as they are. `POST /bench/queue/{name}` hands its bodies to the
 * consumer of that queue, `/bench/scheduled?at=` runs the schedule as of a time and answers with its operations,
 * `/bench/behind?at=` adds them to the totals.
 *
 * A counted answer has the header `x-bench-operations`: what it waited for, what went on behind it, and each statement
 * with the rows that D1 says it read and wrote. Operations on KV and queues are collected until the response is there, or for a
 * moment: what is unfinished then was not waited for.
 */
import worker from "./worker.js";

const HOLD_MS = 50;

/** By queue, and under `scheduled`: what its consumer did in all. Read and reset by `GET /bench/totals`. */
let totals = {};

const none = () => ({ d1: 0, rowsRead: 0, rowsWritten: 0, kvReads: 0, kvWrites: 0, queueMessages: 0, rateLimits: 0 });

function counted(env, gate) {
  const operations = [];
  const run = async (what, work) => {
    const operation = { ...none(), ...what, statements: [], finished: false };
    operations.push(operation);
    if (gate && !what.d1) await Promise.race([gate, scheduler.wait(HOLD_MS)]);
    try {
      const result = await work(operation);
      return result;
    } finally {
      operation.finished = true;
    }
  };
  const note = (operation, sql, { meta }) => {
    operation.rowsRead += meta.rows_read;
    operation.rowsWritten += meta.rows_written;
    operation.statements.push({ sql, rowsRead: meta.rows_read, rowsWritten: meta.rows_written });
  };
  const inner = new WeakMap();
  const wrap = (statement, sql) => {
    const all = () =>
      run({ d1: 1 }, async (operation) => {
        const result = await statement.all();
        note(operation, sql, result);
        return result;
      });
    const wrapped = {
      bind: (...values) => wrap(statement.bind(...values), sql),
      all,
      run: all,
      first: async () => (await all()).results[0] ?? null,
    };
    inner.set(wrapped, { statement, sql });
    return wrapped;
  };
  const database = (binding) => ({
    prepare: (sql) => wrap(binding.prepare(sql), sql),
    batch: (list) =>
      run({ d1: 1 }, async (operation) => {
        const results = await binding.batch(list.map((one) => inner.get(one).statement));
        results.forEach((result, index) => note(operation, inner.get(list[index]).sql, result));
        return results;
      }),
  });
  const REVOCATIONS = {
    get: (...args) => run({ kvReads: 1 }, () => env.REVOCATIONS.get(...args)),
    put: (...args) => run({ kvWrites: 1 }, () => env.REVOCATIONS.put(...args)),
    delete: (...args) => run({ kvWrites: 1 }, () => env.REVOCATIONS.delete(...args)),
  };
  const queue = (binding) => ({
    send: (...args) => run({ queueMessages: 1 }, () => binding.send(...args)),
    sendBatch: (messages, ...rest) =>
      run({ queueMessages: [...messages].length }, () => binding.sendBatch(messages, ...rest)),
  });
  const limits = Object.entries(env)
    .filter(([name]) => name.startsWith("RATE_"))
    .map(([name, binding]) => [name, { limit: (options) => run({ rateLimits: 1 }, () => binding.limit(options)) }]);
  const databases = { DB: database(env.DB), AUDIT_DB: database(env.AUDIT_DB) };
  const bound = { ...databases, REVOCATIONS, ACTIVITY: queue(env.ACTIVITY), DELIVERIES: queue(env.DELIVERIES) };
  return { env: { ...env, ...bound, ...Object.fromEntries(limits) }, operations };
}

function sum(operations) {
  const total = none();
  for (const operation of operations) for (const name of Object.keys(total)) total[name] += operation[name];
  return total;
}

/** The work that a handler leaves to `waitUntil`, so that it can be waited for. */
function waiting(context) {
  const promises = [];
  const waitUntil = (promise) => void (promises.push(promise), context.waitUntil(promise));
  return { promises, context: { waitUntil, passThroughOnException: () => {}, props: {} } };
}

async function settled(promises) {
  for (let done = 0; done < promises.length; done++) await Promise.allSettled([promises[done]]);
}

async function behind(name, messages, env, context, work) {
  const { env: bound, operations } = counted(env);
  const waits = waiting(context);
  try {
    await work(bound, waits.context);
  } finally {
    context.waitUntil(
      settled(waits.promises).then(() => {
        const total = (totals[name] ??= { batches: 0, messages: 0, statements: {}, ...none() });
        total.batches += 1;
        total.messages += messages;
        const added = sum(operations);
        for (const key of Object.keys(added)) total[key] += added[key];
        for (const { statements } of operations) {
          for (const { sql, rowsRead, rowsWritten } of statements) {
            const of = (total.statements[sql] ??= { times: 0, rowsRead: 0, rowsWritten: 0 });
            of.times += 1;
            of.rowsRead += rowsRead;
            of.rowsWritten += rowsWritten;
          }
        }
      }),
    );
  }
}

/** Does a piece of work that no request does, and answers with its operations. */
async function alone(env, context, work) {
  const { env: bound, operations } = counted(env);
  const waits = waiting(context);
  await work(bound, waits.context);
  await settled(waits.promises);
  return Response.json({
    awaited: sum(operations),
    later: none(),
    statements: operations.flatMap(({ statements }) => statements),
  });
}

export default {
  async fetch(request, env, context) {
    if (request.url.endsWith("/bench/totals")) {
      const answer = Response.json(totals);
      totals = {};
      return answer;
    }
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/bench/scheduled") {
      const event = { scheduledTime: Number(searchParams.get("at")), cron: "* * * * *", noRetry: () => {} };
      return alone(env, context, (bound, waits) => worker.scheduled(event, bound, waits));
    }
    if (pathname === "/bench/behind") {
      await this.scheduled({ scheduledTime: Number(searchParams.get("at")) }, env, context);
      return new Response("done");
    }
    if (pathname.startsWith("/bench/queue/")) {
      const bodies = await request.json();
      const timestamp = new Date();
      const messages = bodies.map((body, index) => {
        return { id: String(index), timestamp, attempts: 1, body, ack: () => {}, retry: () => {} };
      });
      const batch = { queue: pathname.slice("/bench/queue/".length), messages, ackAll: () => {}, retryAll: () => {} };
      return alone(env, context, (bound, waits) => worker.queue(batch, bound, waits));
    }
    if (!request.headers.has("x-bench-count")) return worker.fetch(request, env, context);
    const { promise: gate, resolve: release } = Promise.withResolvers();
    const { env: bound, operations } = counted(env, gate);
    const waits = waiting(context);
    const response = await worker.fetch(request, bound, waits.context);
    const body = await response.arrayBuffer();
    const awaited = new Set(operations.filter(({ finished }) => finished));
    const before = sum(awaited);
    release();
    await settled(waits.promises);
    const report = {
      awaited: before,
      later: sum(operations.filter((one) => !awaited.has(one))),
      statements: operations.flatMap(({ statements }) => statements),
    };
    const headers = new Headers(response.headers);
    headers.set("x-bench-operations", encodeURIComponent(JSON.stringify(report)));
    return new Response(response.body === null ? null : body, { status: response.status, headers });
  },
  queue: (batch, env, context) =>
    behind(batch.queue, batch.messages.length, env, context, (bound, waits) => worker.queue(batch, bound, waits)),
  scheduled: (event, env, context) =>
    behind("scheduled", 1, env, context, (bound, waits) => worker.scheduled(event, bound, waits)),
};
