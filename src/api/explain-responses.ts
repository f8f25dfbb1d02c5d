import * as z from "zod/mini";

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

/** What each route does, and what it answers when all is well. For the reference and the tests: the Worker does not carry it. */
export const explainResponses = {
  "POST /proxy/_explain": { summary: "What the gateway would do with a request, and why", answer: answer },
};
