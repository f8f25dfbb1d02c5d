import * as z from "zod/mini";
import { route } from "../access/route.ts";
import { explain } from "../policy/explain.ts";

/** The body of `POST /proxy/_explain`; `npm run explain` accepts the same. */
export const explainRequest = z.object({
  service: z.string(),
  method: z.string(),
  path: z.string().check(z.describe("The path as the upstream would receive it, below its base URL.")),
  headers: z.nullish(z.record(z.string(), z.string())),
  permissions: z.nullish(z.array(z.string())),
});

export const explainRoutes = [
  route({
    method: "POST",
    path: "/proxy/_explain",
    auth: "admin",
    changesNothing: true,
    summary: "What the gateway would do with a request, and why",
    body: explainRequest,
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
        message: z.string(),
      }),
    handle({ config, body }) {
      const { explanation, reasons } = explain(config, body);
      return { ...explanation, ...reasons };
    },
  }),
];
