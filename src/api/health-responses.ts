import * as z from "zod/mini";

const answer = z.object({
  status: z.enum(["healthy", "unhealthy"]),
  database: z.enum(["connected", "disconnected"]),
  timestamp: z.iso.datetime(),
});

/** What each route does, and what it answers when all is well. For the reference and the tests: the Worker does not carry it. */
export const healthResponses = {
  "GET /health": { summary: "Whether the service and its database answer", answer },
};
