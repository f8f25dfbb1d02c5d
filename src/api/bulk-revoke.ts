import * as z from "zod/mini";
import { originOf } from "../access/origin.ts";
import { requireRecentProof } from "../access/recent-proof.ts";
import { route } from "../access/route.ts";
import { bulkRevoke, MAX_REVOCABLE, MAX_REVOKED_AT_ONCE } from "../agents/bulk-revoke.ts";
import { badRequest, conflict } from "../http/errors.ts";
import { ownKeySchema } from "./agent-changes.ts";
import { agentFilter, toFilter } from "./agent-filter.ts";

export const bulkRevokeRoutes = [
  route({
    method: "POST",
    path: "/agents/bulk-revoke",
    auth: "admin",
    summary: `Revoke for good the agents that a filter selects, ${MAX_REVOKED_AT_ONCE} with each call; without dry_run: false they are only counted`,
    body: () =>
      z.object({
        filter: agentFilter(),
        dry_run: z._default(z.boolean(), true),
        expected: z.optional(
          z
            .int()
            .check(
              z.minimum(0),
              z.describe("`matched` of the dry run, or `remaining` of the previous call. Another number is a 409."),
            ),
        ),
        api_key: ownKeySchema(),
      }),
    response: () =>
      z.object({
        success: z.literal(true),
        message: z.string(),
        matched: z
          .int()
          .check(z.describe("Agents that the filter selected and that were not revoked; not the caller.")),
        revoked: z.int().check(z.describe("How many of them this call has revoked.")),
        remaining: z.int().check(z.describe("How many are left: `expected` of the next call.")),
      }),
    async handle(call) {
      const { env, body, now } = call;
      const filter = toFilter(body.filter);
      if (Object.values(filter).every((value) => value === undefined)) {
        throw badRequest("The filter is empty. Name which agents, for example by status or owner_email.", [
          { field: "filter", message: "must not be empty" },
        ]);
      }
      if (!body.dry_run && body.expected === undefined) {
        throw badRequest("expected is required with dry_run: false. It is `matched` of the dry run.", [
          { field: "expected", message: "is required with dry_run: false" },
        ]);
      }
      const by = body.dry_run ? call.authority : await requireRecentProof(call, body.api_key);
      const expected = body.dry_run ? undefined : body.expected;
      const result = await bulkRevoke(env.DB, filter, { by, origin: originOf(call), now, expected });
      switch (result.result) {
        case "too_broad":
          throw badRequest(
            `The filter looks at more than ${MAX_REVOCABLE} agents. Narrow it.`,
            undefined,
            "filter_too_broad",
          );
        case "unexpected":
          throw conflict(
            "unexpected_count",
            `The filter selects ${result.matched} agents, or another number by now, and not ${body.expected}. Run it dry again.`,
          );
        case "counted":
          return {
            success: true,
            message: `${result.matched} agents would be revoked. Nothing has changed. Send dry_run: false and expected: ${result.matched}.`,
            matched: result.matched,
            revoked: 0,
            remaining: result.matched,
          };
        case "revoked": {
          const { matched, ids } = result;
          const remaining = matched - ids.length;
          return {
            success: true,
            message:
              remaining === 0
                ? `${ids.length} agents are revoked.`
                : `${ids.length} agents are revoked, and ${remaining} are left. Send the request again with expected: ${remaining}.`,
            matched,
            revoked: ids.length,
            remaining,
          };
        }
      }
    },
  }),
];
