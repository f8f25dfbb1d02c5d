import { route } from "../http/route.ts";
import { listService } from "../permissions/catalogue.ts";
import { ADMIN } from "../permissions/grammar.ts";

export const permissionRoutes = [
  route({
    method: "GET",
    path: "/permissions/list",
    auth: "none",
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
