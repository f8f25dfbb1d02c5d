import { Hono } from "hono/tiny";
import { activityRoutes } from "./api/activity.ts";
import { auditCountRoutes } from "./api/audit-counts.ts";
import { auditExportRoutes } from "./api/audit-export.ts";
import { auditRoutes } from "./api/audit.ts";
import { agentChangeRoutes } from "./api/agent-changes.ts";
import { agentRoutes } from "./api/agents.ts";
import { agentUpdateRoutes } from "./api/agent-updates.ts";
import { bulkRevokeRoutes } from "./api/bulk-revoke.ts";
import { grantRoutes } from "./api/grants.ts";
import { keyRoutes } from "./api/keys.ts";
import { sessionRoutes } from "./api/sessions.ts";
import { proxy } from "./gateway/proxy.ts";
import { explainRoutes } from "./api/explain.ts";
import { toErrorResponse, handleError } from "./http/error-response.ts";
import { cors } from "./http/cors.ts";
import { dispatch, methodNotAllowed } from "./api/dispatch.ts";
import { deviceDecisionRoutes } from "./api/device.ts";
import { healthDetailsRoutes } from "./api/health-details.ts";
import { healthRoutes } from "./api/health.ts";
import { metricsRoutes } from "./api/metrics.ts";
import { notFound } from "./http/errors.ts";
import { mcp } from "./mcp/endpoint.ts";
import { requestContext, createRequestContext, type AppEnv, type RequestContext } from "./http/request-context.ts";
import { setSecurityHeaders } from "./http/security-headers.ts";
import type { Route } from "./access/route.ts";
import { dispatchForm, formMethodNotAllowed } from "./oauth/dispatch.ts";
import { deviceRoutes } from "./oauth/device.ts";
import { metadataRoutes } from "./oauth/metadata.ts";
import { introspectionRoutes } from "./oauth/introspection.ts";
import { revocationRoutes } from "./oauth/revocation.ts";
import { tokenEndpointRoutes } from "./oauth/token.ts";
import { passkeyRoutes } from "./api/passkeys.ts";
import { BELOW_CONSOLE, DOCUMENTS, PAGES, serveAsset, serveBelowConsole, servePage, serveRoot } from "./api/pages.ts";
import { loginRoutes } from "./api/logins.ts";
import { peopleRoutes } from "./api/people.ts";
import { serviceRoutes } from "./api/services.ts";
import { settingsRoutes } from "./api/settings.ts";
import { signInRoutes } from "./api/sign-in.ts";
import { permissionRoutes } from "./api/permissions.ts";
import { tokenRoutes } from "./api/tokens.ts";
import { webhookDeliveryRoutes } from "./api/webhook-deliveries.ts";
import { webhookRoutes } from "./api/webhooks.ts";

/** Every endpoint except the gateway. The app, the OpenAPI document and the security tests are all made from this list. */
export const ROUTES: readonly Route[] = [
  ...agentRoutes,
  ...agentChangeRoutes,
  ...agentUpdateRoutes,
  ...bulkRevokeRoutes,
  ...grantRoutes,
  ...keyRoutes,
  ...sessionRoutes,
  ...tokenRoutes,
  ...activityRoutes,
  ...auditCountRoutes,
  ...auditExportRoutes,
  ...auditRoutes,
  ...webhookRoutes,
  ...webhookDeliveryRoutes,
  ...metadataRoutes,
  ...deviceRoutes,
  ...tokenEndpointRoutes,
  ...introspectionRoutes,
  ...revocationRoutes,
  ...permissionRoutes,
  ...explainRoutes,
  ...serviceRoutes,
  ...settingsRoutes,
  ...peopleRoutes,
  ...passkeyRoutes,
  ...signInRoutes,
  ...loginRoutes,
  ...deviceDecisionRoutes,
  ...healthRoutes,
  ...healthDetailsRoutes,
  ...metricsRoutes,
];

/** Creates the app that serves these routes and the gateway. */
export function createApp(routes: readonly Route[]): Hono<AppEnv> {
  const app = new Hono<AppEnv>();

  app.onError(handleError);
  // Returned and not thrown, because an error that is thrown here would skip the middleware and the headers that it sets.
  app.notFound((c) => handleError(notFound("This path"), c));

  app.use(requestContext);
  app.use(cors);

  // A static path wins over a path with a parameter in the same place, also for a method that only the latter has.
  const bySpecificity = [...new Set(routes.map(({ path }) => path))].sort(
    (one, other) => Number(one.includes("{")) - Number(other.includes("{")),
  );
  for (const path of bySpecificity) {
    const onPath = routes.filter((route) => route.path === path);
    const pattern = path.replace(/\{(\w+)\}/g, ":$1");
    const methods = onPath.map(({ method }) => method);
    const isForm = onPath.some(({ form }) => form);
    for (const route of onPath) app.on(route.method, pattern, route.form ? dispatchForm(route) : dispatch(route));
    app.all(pattern, isForm ? formMethodNotAllowed(methods) : methodNotAllowed(methods));
  }

  for (const [paths, serve] of [
    [["/"], serveRoot],
    [DOCUMENTS, serveAsset],
    [PAGES, servePage],
    [[BELOW_CONSOLE], serveBelowConsole],
  ] as const) {
    for (const path of paths) {
      app.get(path, serve);
      app.all(path, methodNotAllowed(["GET"]));
    }
  }

  app.post("/mcp", (c) => mcp(c.get("context")));
  app.all("/mcp", methodNotAllowed(["POST"]));

  // After the routes, so that `/proxy/_explain` and its like win. No service has such a name.
  app.all("/proxy/:service", (c) => proxy(c.get("context")));
  app.all("/proxy/:service/*", (c) => proxy(c.get("context")));
  return app;
}

export const app = createApp(ROUTES);

/** The URLs that only the gateway handles: the path of a service, and none of the routes below /proxy. */
const GATEWAY_PATH = /^[^:]+:\/\/[^/]+\/proxy\/[a-z0-9]/;
/** And the URL of the MCP server. */
const MCP_PATH = /^[^:]+:\/\/[^/]+\/mcp(?:\?|$)/;
const PLAIN_METHODS = new Set(["GET", "POST", "PUT", "PATCH", "DELETE"]);

/**
 * Responds to a request. Most requests are for the gateway or the MCP server and do not come from a browser. They need neither the
 * router nor CORS, and skipping both saves about a tenth of their CPU time (median of nine pairs under workerd: 0.88).
 * test/gateway/front.test.ts checks that both ways give the same response.
 */
export async function answer(request: Request, env: Env, executionCtx: ExecutionContext): Promise<Response> {
  const handle = request.headers.has("origin") ? undefined : handlerOf(request);
  if (!handle) return app.fetch(request, env, executionCtx);
  const requestId = crypto.randomUUID();
  let response: Response;
  let context: RequestContext | undefined;
  try {
    context = createRequestContext(request, env, executionCtx, requestId);
    response = await handle(context);
    response.headers.set("x-request-id", requestId);
    if (handle === mcp) setSecurityHeaders(response.headers);
  } catch (error) {
    response = toErrorResponse(error, request, requestId, context);
  }
  response.headers.append("vary", "Origin");
  return response;
}

/** What handles a request without the router, if anything does. */
function handlerOf({ method, url }: Request): ((context: RequestContext) => Promise<Response>) | undefined {
  if (PLAIN_METHODS.has(method) && GATEWAY_PATH.test(url)) return proxy;
  return method === "POST" && MCP_PATH.test(url) ? mcp : undefined;
}
