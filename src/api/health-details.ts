import * as z from "zod/mini";
import { route } from "../access/route.ts";
import type { Config } from "../config/config.ts";
import { checkAudit } from "../audit/health.ts";
import { findPepper } from "../crypto/pepper.ts";
import { findGains } from "../grants/gains.ts";
import { checkOutbox } from "../outbox/health.ts";
import { checkDatabase, checkMigrations } from "../storage/check.ts";
import { checkPart, ok, type PartHealth } from "../storage/part-health.ts";
import { countPepperUse } from "../tokens/peppers.ts";
import { checkRevocationStore } from "../tokens/revocation.ts";
import { checkDeliveries, countGivenUp } from "../webhooks/deliveries/health.ts";
import { toTimestamp } from "./timestamp.ts";
import { once } from "../validation/once.ts";

const part = once(() =>
  z.object({
    name: z.string(),
    status: z
      .enum(["ok", "lagging", "failing", "off"])
      .check(
        z.describe(
          "`lagging`: it is behind, and nothing is lost. `failing`: it does not do what it is there for. `off`: it is not set up.",
        ),
      ),
    since: z.nullable(z.iso.datetime()).check(z.describe("Since when, as far as that is known.")),
    message: z.nullable(z.string()).check(z.describe("What is the matter, and what to do.")),
    numbers: z.record(z.string(), z.number()),
  }),
);

const toResponse = ({ name, status, since, message, numbers }: PartHealth): z.input<ReturnType<typeof part>> => ({
  name,
  status,
  since: toTimestamp(since),
  message,
  numbers,
});

const countsSchema = once(() =>
  z.object({
    peppers: z
      .array(
        z.object({
          id: z.nullable(z.string()).check(z.describe("Null: written by a former version.")),
          configured: z.boolean(),
          keys: z.int(),
          sessions: z.int(),
        }),
      )
      .check(z.describe("Which API keys and sessions each key of SECRET_PEPPER still verifies.")),
    peppers_complete: z.boolean().check(z.describe("False: there are more than 50,000 keys or sessions.")),
    gains: z
      .array(z.object({ agent_id: z.string(), permission: z.string(), lacks: z.array(z.string()) }))
      .check(z.describe("What a `service:resource:*` does not give because it was granted before.")),
    gains_complete: z.boolean(),
    deliveries_given_up: z.int().check(z.describe("Of the last 1000 failed deliveries, those that the queue gave up.")),
  }),
);

/** Counts what an operator looks at now and then. It reads up to 100,000 rows, so it is no part of every check. */
async function readCounts(
  { DB }: Env,
  { peppers, catalogue }: Config,
  now: number,
): Promise<z.input<ReturnType<typeof countsSchema>>> {
  const [{ uses, isWhole }, found, givenUp] = await Promise.all([
    countPepperUse(DB, now),
    findGains(DB, catalogue),
    countGivenUp(DB),
  ]);
  const unused = peppers.filter(({ id }) => !uses.some((one) => one.id === id));
  return {
    peppers: [...uses, ...unused.map(({ id }) => ({ id, keys: 0, sessions: 0 }))].map(({ id, keys, sessions }) => ({
      id,
      configured: findPepper(peppers, id) !== undefined,
      keys,
      sessions,
    })),
    peppers_complete: isWhole,
    gains: found.gains.map(({ agentId, permission, lacks }) => ({ agent_id: agentId, permission, lacks: [...lacks] })),
    gains_complete: found.isWhole,
    deliveries_given_up: givenUp,
  };
}

/** Checks every part of the deployment. @param now milliseconds. */
export async function checkParts(env: Env, config: Config, now: number): Promise<PartHealth[]> {
  const parts = await Promise.all([
    checkPart(
      "database",
      async () => {
        await checkDatabase(env.DB);
        return ok();
      },
      "Look for DB in Cloudflare's dashboard. Without it, nobody is authenticated.",
    ),
    checkPart(
      "revocations",
      async () => {
        await checkRevocationStore(env.REVOCATIONS);
        return ok();
      },
      "Look for the KV namespace REVOCATIONS in Cloudflare's dashboard. Without it, revocations are read from DB, within STANDING_TTL_SECONDS.",
    ),
    checkPart("migrations", () => checkMigrations(env), "See the parts database and audit_database."),
    checkPart("events", () => checkOutbox(env.DB, now), "See the part database."),
    checkPart("deliveries", () => checkDeliveries(env.DB, now), "See the part database."),
    checkAudit(env, config, now),
  ]);
  return parts.flat();
}

export const healthDetailsRoutes = [
  route({
    method: "GET",
    path: "/health/details",
    auth: "admin",
    summary: "Each part of the deployment: what lags and since when, what is missing, and what to do",
    query: () =>
      z.object({
        counts: z.optional(z.literal("true").check(z.describe("Adds `counts`, which reads up to 100,000 rows."))),
      }),
    response: () =>
      z.object({
        success: z.literal(true),
        status: z.enum(["ok", "lagging", "failing"]).check(z.describe("The worst of the parts.")),
        timestamp: z.iso.datetime(),
        parts: z.array(part()),
        counts: z.optional(countsSchema()),
      }),
    async handle({ env, config, now, query }) {
      const all = await checkParts(env, config, now);
      const worst =
        (["failing", "lagging"] as const).find((status) => all.some((one) => one.status === status)) ?? "ok";
      return {
        success: true,
        status: worst,
        timestamp: toTimestamp(now),
        parts: all.map(toResponse),
        ...(query.counts && { counts: await readCounts(env, config, now) }),
      };
    },
  }),
];
