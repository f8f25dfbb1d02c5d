import * as z from "zod/mini";
import { route } from "../access/route.ts";
import { logFailure } from "../log/failure-log.ts";
import { checkDatabase } from "../storage/check.ts";
import { toTimestamp } from "./timestamp.ts";

const health = () =>
  z.object({
    status: z.enum(["healthy", "unhealthy"]),
    database: z.enum(["connected", "disconnected"]),
    timestamp: z.iso.datetime(),
  });

/** How long a check counts, in milliseconds. However often /health is asked, an isolate reads the database this often at the most. */
const CHECK_TTL_MS = 5000;
/** While a check is under way, the one before it counts for longer. */
const MAX_CHECK_AGE_MS = 30_000;
/** How long a request waits for the first check of its isolate, which another request has begun. */
const PATIENCE_MS = 2000;
const POLL_MS = 25;

interface Check {
  readonly isHealthy: boolean;
  /** Milliseconds. */
  readonly at: number;
}

/** For each deployment, that is each `env`: the last check, and when one that is still under way began. */
const checks = new WeakMap<Env, Checks>();

interface Checks {
  last?: Check;
  beganAt?: number;
}

/** Only the request that began a check can await its I/O. The others look whether there is a result. */
async function waitForFirst(checks: Checks): Promise<void> {
  for (let waited = 0; !checks.last && waited < PATIENCE_MS; waited += POLL_MS) await scheduler.wait(POLL_MS);
}

/** Returns whether the database is as it must be, by a check of the last seconds or a new one. */
async function isHealthy(env: Env, now: number, requestId: string): Promise<boolean> {
  const known = checks.get(env) ?? {};
  checks.set(env, known);
  const { beganAt } = known;
  const isUnderWay = beganAt !== undefined && now - beganAt < MAX_CHECK_AGE_MS;
  if (isUnderWay && !known.last) await waitForFirst(known);
  const { last } = known;
  const age = last ? now - last.at : Infinity;
  if (last && age >= 0 && age < (isUnderWay ? MAX_CHECK_AGE_MS : CHECK_TTL_MS)) return last.isHealthy;
  if (isUnderWay && !last) return false;
  known.beganAt = now;
  const result = await checkDatabase(env.DB).then(
    () => true,
    (cause: unknown) => {
      logFailure("unhealthy", cause, { request_id: requestId });
      return false;
    },
  );
  known.last = { isHealthy: result, at: now };
  delete known.beganAt;
  return result;
}

export const healthRoutes = [
  route({
    method: "GET",
    path: "/health",
    auth: "none",
    summary: "Whether the service answers, and its database with every table that it needs; checked every five seconds",
    response: health,
    async handle({ env, now, requestId }) {
      const timestamp = toTimestamp(now);
      if (await isHealthy(env, now, requestId)) return { status: "healthy", database: "connected", timestamp };
      const body: z.input<typeof health> = { status: "unhealthy", database: "disconnected", timestamp };
      return Response.json(body, { status: 503, headers: { "Retry-After": "5" } });
    },
  }),
];
