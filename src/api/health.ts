import * as z from "zod/mini";
import { route } from "../access/route.ts";
import { pingDatabase } from "../agents/read.ts";
import { logFailure } from "../log/failure-log.ts";
import { toTimestamp } from "./timestamp.ts";

const health = z.object({
  status: z.enum(["healthy", "unhealthy"]),
  database: z.enum(["connected", "disconnected"]),
  timestamp: z.iso.datetime(),
});

export const healthRoutes = [
  route({
    method: "GET",
    path: "/health",
    auth: "none",
    summary: "Whether the service and its database answer",
    response: health,
    async handle({ env, now, requestId }) {
      const timestamp = toTimestamp(now);
      try {
        await pingDatabase(env.DB);
      } catch (cause) {
        logFailure("unhealthy", cause, { request_id: requestId });
        const body: z.input<typeof health> = { status: "unhealthy", database: "disconnected", timestamp };
        return Response.json(body, { status: 503, headers: { "Retry-After": "5" } });
      }
      return { status: "healthy", database: "connected", timestamp };
    },
  }),
];
