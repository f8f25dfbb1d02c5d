import * as z from "zod/mini";
import { route } from "../http/route.ts";
import { explain } from "../policy/explain.ts";

/** The body of `POST /proxy/_explain`. */
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
    body: explainRequest,
    handle({ config, body }) {
      const { explanation, reasons } = explain(config, body);
      return { ...explanation, ...reasons };
    },
  }),
];
