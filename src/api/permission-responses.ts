import * as z from "zod/mini";

const answer = z.object({
  permissions: z.record(z.string(), z.array(z.string())).check(z.describe("The whole permission strings, by service.")),
  format: z.string(),
  examples: z.array(z.string()),
  wildcards: z.object({ admin: z.string(), service: z.string(), resource: z.string() }),
});

/** What each route does, and what it answers when all is well. For the reference and the tests: the Worker does not carry it. */
export const permissionResponses = {
  "GET /permissions/list": { summary: "Every permission that can be granted", answer: answer },
};
