import * as z from "zod/mini";
import { route } from "../access/route.ts";
import { expandGrants } from "../grants/grant.ts";
import { getGrants, makeGrants } from "../grants/put-grants.ts";
import { notFound } from "../http/errors.ts";
import { explain } from "../policy/explain.ts";
import { conditions, grantsRefused, limitsOf, wantedGrant } from "./grants.ts";
import { once } from "../validation/once.ts";

/** A request to explain; `npm run explain` accepts the same. */
export const explainRequest = once(() =>
  z.object({
    service: z.string(),
    method: z.string(),
    path: z.string().check(z.describe("The path as the upstream would receive it, below its base URL.")),
    headers: z.nullish(z.record(z.string(), z.string())),
    body: z.nullish(z.string().check(z.describe("With its Content-Type among the headers. By default none."))),
    permissions: z.nullish(z.array(z.string()).check(z.describe("What the agent would have, without limits."))),
    grants: z.nullish(
      z.array(wantedGrant()).check(z.describe("What it would have beside them, with limits and ends.")),
    ),
  }),
);

/** The body of `POST /proxy/_explain`. */
const explainBody = once(() =>
  z.extend(explainRequest(), {
    agent_id: z.nullish(z.string().check(z.describe("An agent, whose present grants count as well."))),
  }),
);

export const explainRoutes = [
  route({
    method: "POST",
    path: "/proxy/_explain",
    auth: "admin",
    changesNothing: true,
    summary: "What the gateway would do with a request, and why",
    body: explainBody,
    response: () =>
      z.object({
        service: z.string(),
        method: z.string(),
        path: z.nullable(z.string()),
        required: z.nullable(z.string()),
        all_required: z.array(z.string()),
        decision: z.enum(["allow", "deny", "refuse"]),
        code: z.string(),
        dropped: z.array(z.string()),
        rule: z.nullable(z.string()),
        lacking: z.array(z.string()),
        limitable: z.array(z.string()).check(z.describe("The fields that a grant may limit at this rule.")),
        limits: z
          .array(z.object({ permission: z.string(), any_of: z.array(z.record(z.string(), conditions())) }))
          .check(z.describe("The limits that the request has to meet: of each permission, those of one grant.")),
        violations: z
          .array(
            z.object({
              field: z.string(),
              constraint: conditions(),
              actual: z.nullable(z.union([z.string(), z.number(), z.boolean()])),
            }),
          )
          .check(z.describe("The limits that it does not meet.")),
        message: z.string(),
      }),
    async handle({ env, config, body: { grants: wanted, agent_id: agentId, ...request }, now }) {
      const made = makeGrants((wanted ?? []).map(limitsOf), config, now);
      if ("faults" in made) throw grantsRefused(made.faults);
      const ofAgent = agentId == null ? { grants: [] } : await getGrants(env.DB, agentId);
      if (!ofAgent) throw notFound("The agent");
      const grants = expandGrants([...made.grants, ...ofAgent.grants]);
      const { explanation, reasons } = explain(config, { ...request, grants }, now);
      return { ...explanation, ...reasons };
    },
  }),
];
