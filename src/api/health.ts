import { logFailure } from "../log/failure-log.ts";
import { route } from "../http/route.ts";
import { pingDatabase } from "../http/store.ts";

export const healthRoutes = [
  route({
    method: "GET",
    path: "/health",
    auth: "none",
    async handle({ env, now, requestId }) {
      const timestamp = new Date(now).toISOString();
      try {
        await pingDatabase(env.DB);
      } catch (cause) {
        logFailure("unhealthy", cause, { request_id: requestId });
        return Response.json(
          { status: "unhealthy", database: "disconnected", timestamp },
          { status: 503, headers: { "Retry-After": "5" } },
        );
      }
      return { status: "healthy", database: "connected", timestamp };
    },
  }),
];
