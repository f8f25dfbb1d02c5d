import * as z from "zod/mini";
import { route } from "../http/route.ts";
import { explain } from "./explain.ts";

const question = z.object({
  service: z.string(),
  method: z.string(),
  path: z.string(),
  headers: z.optional(z.record(z.string(), z.string())),
  permissions: z.optional(z.array(z.string())),
});

const answer = z.object({
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
});

export const gatewayRoutes = [
  route({
    method: "POST",
    path: "/proxy/_explain",
    auth: "admin",
    summary: "What the gateway would do with a request, and why",
    body: question,
    answer,
    handle({ config, body }) {
      const { explanation, reasons } = explain(config, body);
      return { ...explanation, ...reasons };
    },
  }),
];
