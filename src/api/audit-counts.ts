import * as z from "zod/mini";
import { route } from "../access/route.ts";
import { countCalls, MAX_HOURS, type HourOfCalls } from "../audit/call-counts.ts";
import { wholeNumber } from "../validation/whole-number.ts";
import { toTimestamp } from "./timestamp.ts";
import { once } from "../validation/once.ts";

const DEFAULT_HOURS = 24;

const count = once(() => z.int());

const toHour = ({ at, calls: { success, denied, failed, unknown } }: HourOfCalls) => ({
  at: toTimestamp(at),
  success,
  denied,
  failed,
  unknown,
});

export const auditCountRoutes = [
  route({
    method: "GET",
    path: "/audit/counts",
    auth: "admin",
    summary: "How many calls through the gateway there were in each of the last hours, by outcome; no record is read",
    query: () =>
      z.object({
        hours: z._default(
          wholeNumber(1, MAX_HOURS).check(z.describe("How many hours, the present one included.")),
          DEFAULT_HOURS,
        ),
      }),
    response: () =>
      z.object({
        success: z.literal(true),
        hours: z
          .array(
            z.object({
              at: z.iso.datetime().check(z.describe("When the hour began.")),
              success: count(),
              denied: count(),
              failed: count(),
              unknown: count(),
            }),
          )
          .check(z.describe("The oldest first, each hour once.")),
      }),
    async handle({ env, query, now }) {
      const hours = await countCalls(env.AUDIT_DB, query.hours, now);
      return { success: true, hours: hours.map(toHour) };
    },
  }),
];
