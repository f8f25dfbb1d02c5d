import * as z from "zod/mini";
import { route } from "../access/route.ts";
import { listService } from "../permissions/catalogue.ts";
import { ADMIN } from "../permissions/grammar.ts";

export const permissionRoutes = [
  route({
    method: "GET",
    path: "/permissions/list",
    auth: "none",
    summary: "Every permission that can be granted",
    response: () =>
      z.object({
        permissions: z
          .record(z.string(), z.array(z.string()))
          .check(z.describe("The whole permission strings, by service.")),
        format: z.string(),
        examples: z.array(z.string()),
        wildcards: z.object({ admin: z.string(), service: z.string(), resource: z.string() }),
      }),
    handle({ config: { catalogue } }) {
      return {
        permissions: Object.fromEntries(
          Object.keys(catalogue).map((service) => [service, listService(catalogue, service)]),
        ),
        format: "service:resource:action",
        examples: ["zendesk:tickets:read", "github:issues:write", "hubspot:contacts:*", "slack:*:*"],
        wildcards: { admin: ADMIN, service: "service:*:*", resource: "service:resource:*" },
      };
    },
  }),
];
