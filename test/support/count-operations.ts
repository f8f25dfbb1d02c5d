import { testEnv } from "./world.ts";

/** What a piece of work did to the stores. */
export interface Operations {
  /** Round trips: a batch is one. */
  d1: number;
  /** Round trips to the database of the audit log. */
  auditD1: number;
  kvReads: number;
  kvWrites: number;
  queueSends: number;
  rateLimits: number;
  rowsRead: number;
  rowsWritten: number;
}

export interface Statement {
  readonly sql: string;
  readonly bindings: readonly unknown[];
}

export interface Counted<T> {
  readonly result: T;
  /** What the answer waited for. */
  readonly awaited: Operations;
  /** What went on after it. */
  readonly later: Operations;
  readonly statements: readonly Statement[];
  /** Those of the audit log's database. */
  readonly auditStatements: readonly Statement[];
}

interface Operation extends Partial<Operations> {
  finished: boolean;
}

const NONE: Operations = {
  d1: 0,
  auditD1: 0,
  kvReads: 0,
  kvWrites: 0,
  queueSends: 0,
  rateLimits: 0,
  rowsRead: 0,
  rowsWritten: 0,
};

/**
 * Wraps the bindings so that what is done to them can be counted: `world(counter.overrides)`, then `counter.run(…)`.
 *
 * Operations on KV and queues are held until the work is done, or nothing else has gone on for a moment: what is unfinished when the
 * work is done was not awaited by it. Nothing may touch D1 behind an answer, so D1 is not held.
 */
export function countOperations(base: Record<string, unknown> = {}) {
  const env = { ...testEnv(), ...base };
  let operations: Operation[] = [];
  let statements: Statement[] = [];
  let auditStatements: Statement[] = [];
  let release = () => {};
  let gate = Promise.resolve();
  /** Operations that have begun and were not held, and that have ended. */
  let steps = 0;
  let underWay = 0;

  async function counted<T>(what: Partial<Operations>, hold: boolean, work: () => Promise<T>): Promise<T> {
    const operation: Operation = { ...what, finished: false };
    operations.push(operation);
    if (hold) await Promise.race([gate, stillness()]);
    else steps++;
    underWay++;
    try {
      const result = await work();
      for (const one of [result].flat() as ({ meta?: D1Meta } | null | undefined)[]) {
        operation.rowsRead = (operation.rowsRead ?? 0) + (one?.meta?.rows_read ?? 0);
        operation.rowsWritten = (operation.rowsWritten ?? 0) + (one?.meta?.rows_written ?? 0);
      }
      return result;
    } finally {
      operation.finished = true;
      steps++;
      underWay--;
    }
  }

  const isGoingOn = (before: number) => before !== steps || underWay > 0;

  /** Ends once nothing has begun or ended for a moment, and nothing that is not held is under way: on a busy machine that takes longer. */
  async function stillness(): Promise<void> {
    let before: number;
    do {
      before = steps;
      await scheduler.wait(150);
    } while (isGoingOn(before));
  }

  const inner = new WeakMap<object, { statement: D1PreparedStatement; told: Statement }>();
  interface Database {
    readonly trip: Partial<Operations>;
    readonly note: (...told: Statement[]) => void;
  }
  function wrap(statement: D1PreparedStatement, told: Statement, database: Database): D1PreparedStatement {
    const all = () => {
      database.note(told);
      return counted(database.trip, false, () => statement.all());
    };
    const wrapped = {
      bind: (...bindings: unknown[]) => wrap(statement.bind(...bindings), { sql: told.sql, bindings }, database),
      all,
      run: all,
      async first(column?: string) {
        const row = ((await all()).results[0] ?? null) as Record<string, unknown> | null;
        return row && column !== undefined ? row[column] : row;
      },
    } as unknown as D1PreparedStatement;
    inner.set(wrapped, { statement, told });
    return wrapped;
  }

  const wrapDatabase = (db: D1Database, database: Database) => ({
    prepare: (sql: string) => wrap(db.prepare(sql), { sql, bindings: [] }, database),
    batch(wrapped: D1PreparedStatement[]) {
      const all = wrapped.map((one) => inner.get(one)!);
      database.note(...all.map(({ told }) => told));
      return counted(database.trip, false, () => db.batch(all.map(({ statement }) => statement)));
    },
  });
  const DB = wrapDatabase(env.DB, { trip: { d1: 1 }, note: (...told) => void statements.push(...told) });
  const AUDIT_DB = wrapDatabase(env.AUDIT_DB, {
    trip: { auditD1: 1 },
    note: (...told) => void auditStatements.push(...told),
  });
  const REVOCATIONS = {
    get: (key: string) => counted({ kvReads: 1 }, true, () => env.REVOCATIONS.get(key)),
    put: (...args: Parameters<KVNamespace["put"]>) =>
      counted({ kvWrites: 1 }, true, () => env.REVOCATIONS.put(...args)),
  };
  const sends: unknown[] = [];
  const ACTIVITY = {
    send: (message: unknown) => counted({ queueSends: 1 }, true, async () => void sends.push(message)),
    sendBatch: (messages: MessageSendRequest[]) =>
      counted({ queueSends: 1 }, true, async () => void sends.push(...messages.map(({ body }) => body))),
  };
  const limits = Object.entries(env)
    .filter(([name]) => name.startsWith("RATE_"))
    .map(([name, binding]) => [
      name,
      {
        limit: (options: RateLimitOptions) =>
          counted({ rateLimits: 1 }, false, () => (binding as unknown as RateLimit).limit(options)),
      },
    ]);

  return {
    overrides: { ...base, DB, AUDIT_DB, REVOCATIONS, ACTIVITY, ...Object.fromEntries(limits) } as Record<
      string,
      unknown
    >,
    /** What was sent to the activity queue. */
    sends,
    async run<T>(work: () => Promise<T>): Promise<Counted<T>> {
      operations = [];
      statements = [];
      auditStatements = [];
      ({ promise: gate, resolve: release } = Promise.withResolvers<void>());
      const result = await work();
      const awaited = operations.filter(({ finished }) => finished);
      const begun = new Set(awaited);
      const totals = sum(awaited);
      release();
      while (operations.some(({ finished }) => !finished)) await scheduler.wait(1);
      return {
        result,
        awaited: totals,
        later: sum(operations.filter((one) => !begun.has(one))),
        statements,
        auditStatements,
      };
    },
  };
}

function sum(operations: readonly Operation[]): Operations {
  const total = { ...NONE };
  for (const operation of operations) {
    for (const name of Object.keys(NONE) as (keyof Operations)[]) total[name] += operation[name] ?? 0;
  }
  return total;
}
