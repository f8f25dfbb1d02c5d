import * as z from "zod/mini";
import { route } from "../access/route.ts";
import type { Config } from "../config/config.ts";
import { checkAudit } from "../audit/health.ts";
import { checkOutbox } from "../outbox/health.ts";
import { checkDatabase } from "../storage/check.ts";
import { checkPart, ok, type PartHealth } from "../storage/part-health.ts";
import { checkRevocationStore } from "../tokens/revocation.ts";
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
    checkPart("events", () => checkOutbox(env.DB, now), "See the part database."),
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
    response: () =>
      z.object({
        success: z.literal(true),
        status: z.enum(["ok", "lagging", "failing"]).check(z.describe("The worst of the parts.")),
        timestamp: z.iso.datetime(),
        parts: z.array(part()),
      }),
    async handle({ env, config, now }) {
      const all = await checkParts(env, config, now);
      const worst =
        (["failing", "lagging"] as const).find((status) => all.some((one) => one.status === status)) ?? "ok";
      return {
        success: true,
        status: worst,
        timestamp: toTimestamp(now),
        parts: all.map(toResponse),
      };
    },
  }),
];
