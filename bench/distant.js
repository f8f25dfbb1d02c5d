/*
 * Stands before the bundle and makes D1 as slow as one that is far away: each round trip takes a tenth of a second more. Nothing else is
 * changed. `x-bench-trips` of an answer says how many there were until then.
 */
import worker from "./worker.js";
export * from "./worker.js";

const DELAY_MS = 100;

function distant(env) {
  let trips = 0;
  const after = async (work) => {
    trips += 1;
    await scheduler.wait(DELAY_MS);
    return work();
  };
  const inner = new WeakMap();
  const wrap = (statement) => {
    const wrapped = {
      bind: (...values) => wrap(statement.bind(...values)),
      all: () => after(() => statement.all()),
      run: () => after(() => statement.run()),
      first: (...args) => after(() => statement.first(...args)),
    };
    inner.set(wrapped, statement);
    return wrapped;
  };
  const database = (binding) => ({
    prepare: (sql) => wrap(binding.prepare(sql)),
    batch: (list) => after(() => binding.batch(list.map((one) => inner.get(one)))),
  });
  return { env: { ...env, DB: database(env.DB), AUDIT_DB: database(env.AUDIT_DB) }, trips: () => trips };
}

export default {
  async fetch(request, env, context) {
    const far = distant(env);
    const response = await worker.fetch(request, far.env, context);
    const headers = new Headers(response.headers);
    headers.set("x-bench-trips", String(far.trips()));
    return new Response(response.body, { status: response.status, headers });
  },
  queue: (batch, env, context) => worker.queue(batch, env, context),
  scheduled: (event, env, context) => worker.scheduled(event, env, context),
};
