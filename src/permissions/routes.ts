import * as z from "zod/mini";
import { route } from "../http/route.ts";
import { listService } from "./catalogue.ts";
import { ADMIN } from "./grammar.ts";

const answer = z.object({
  permissions: z.record(z.string(), z.array(z.string())),
  format: z.string(),
  examples: z.array(z.string()),
  wildcards: z.object({ admin: z.string(), service: z.string(), resource: z.string() }),
});

export const permissionRoutes = [
  route({
    method: "GET",
    path: "/permissions/list",
    auth: "none",
    summary: "Every permission that can be granted",
    answer,
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
