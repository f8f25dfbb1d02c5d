/** Who may call: nobody in particular, an OAuth client, any agent, the agent itself, an administrator, the owner of the webhook. */
type AgentAuth = "none" | "client" | "bearer" | "self" | "admin" | "own";

/** What no token of an agent opens: any person, an administrator, the person themself, who enrols a passkey, the bootstrap token. */
type PersonAuth = "person" | "administrator" | "oneself" | "enrolling" | "bootstrap";

export type Auth = AgentAuth | PersonAuth;

/** Every endpoint of the wire contract but the gateway itself. */
export const ENDPOINTS = {
  "POST /agents/register": "none",
  "POST /agents/verify": "none",
  "POST /agents/refresh": "none",
  "POST /agents/revoke-tokens": "bearer",
  "GET /agents": "admin",
  "GET /agents/{id}": "self",
  "PATCH /agents/{id}": "self",
  "POST /agents/{id}/revoke": "self",
  "GET /agents/{id}/activity": "self",
  "PUT /agents/{id}/tier": "admin",
  "PUT /agents/{id}/status": "admin",
  "PUT /agents/{id}/permissions": "admin",
  "POST /agents/{id}/rotate-key": "self",
  "GET /agents/{id}/grants": "admin",
  "PUT /agents/{id}/grants": "admin",
  "GET /keys": "admin",
  "GET /agents/{id}/keys": "self",
  "POST /agents/{id}/keys": "self",
  "DELETE /agents/{id}/keys/{key_id}": "self",
  "GET /agents/{id}/sessions": "self",
  "DELETE /agents/{id}/sessions/{session_id}": "self",
  "POST /agents/{id}/revoke-tokens": "admin",
  "POST /agents/bulk-revoke": "admin",
  "DELETE /agents/{id}": "admin",
  "GET /activity": "admin",
  "GET /audit": "bearer",
  "GET /audit/export": "admin",
  "GET /audit/counts": "admin",
  "GET /audit/{id}": "own",
  "POST /webhooks": "bearer",
  "GET /webhooks": "bearer",
  "GET /webhooks/{id}": "own",
  "PUT /webhooks/{id}": "own",
  "DELETE /webhooks/{id}": "own",
  "POST /webhooks/{id}/regenerate-secret": "own",
  "GET /webhooks/{id}/deliveries": "own",
  "GET /webhooks/{id}/deliveries/{delivery_id}": "own",
  "POST /webhooks/{id}/deliveries/{delivery_id}/redeliver": "own",
  "POST /webhooks/{id}/test": "own",
  "GET /deliveries": "admin",
  "POST /deliveries/redeliver": "admin",
  "GET /webhooks/events": "none",
  "GET /permissions/list": "none",
  "GET /settings": "admin",
  "GET /services": "admin",
  "GET /services/{name}": "admin",
  "POST /services/{name}/check": "admin",
  "GET /health": "none",
  "GET /health/details": "admin",
  "GET /metrics": "admin",
  "GET /.well-known/jwks.json": "none",
  "GET /.well-known/oauth-authorization-server": "none",
  "GET /.well-known/oauth-protected-resource": "none",
  "GET /.well-known/oauth-protected-resource/proxy/{service}": "none",
  "GET /.well-known/oauth-protected-resource/mcp": "none",
  "POST /mcp": "bearer",
  "GET /oauth/authorize": "none",
  "POST /oauth/device_authorization": "client",
  "POST /oauth/token": "client",
  "POST /oauth/introspect": "client",
  "POST /oauth/revoke": "client",
  "POST /proxy/_explain": "admin",
  "GET /sign-in/methods": "none",
  "POST /sign-in/passkey/options": "none",
  "POST /sign-in/passkey/verify": "none",
  "POST /sign-in/link": "none",
  "GET /sign-in/oidc": "none",
  "GET /sign-in/oidc/callback": "none",
  "POST /sign-in/device": "person",
  "POST /sign-in/device/decide": "person",
  "POST /sign-out": "none",
  "POST /people/bootstrap": "bootstrap",
  "GET /people/me": "person",
  "GET /people": "administrator",
  "POST /people": "administrator",
  "GET /people/{id}": "oneself",
  "PATCH /people/{id}": "administrator",
  "DELETE /people/{id}": "administrator",
  "POST /people/{id}/sign-in-links": "administrator",
  "GET /people/{id}/sessions": "oneself",
  "DELETE /people/{id}/sessions/{session_id}": "oneself",
  "GET /people/{id}/passkeys": "oneself",
  "POST /people/{id}/passkeys/options": "enrolling",
  "POST /people/{id}/passkeys": "enrolling",
  "DELETE /people/{id}/passkeys/{passkey_id}": "oneself",
  "GET /people/{id}/logins": "oneself",
  "POST /people/{id}/logins": "enrolling",
  "DELETE /people/{id}/logins/{login_id}": "oneself",
} as const satisfies Record<string, Auth>;

/** The endpoints that the suite can call. What a person may do it leaves alone: it would have to become one of the deployment's. */
export type Endpoint = {
  [Name in keyof typeof ENDPOINTS]: (typeof ENDPOINTS)[Name] extends PersonAuth ? never : Name;
}[keyof typeof ENDPOINTS];

/** Whether an endpoint is for people, whom no agent's token stands for. */
export const isOfPeople = (auth: Auth): auth is PersonAuth =>
  ["person", "administrator", "oneself", "enrolling", "bootstrap"].includes(auth);

/** What an endpoint must do for whoever may call it. */
export type Check = () => Promise<void>;

/** The method and the path of an endpoint, with ids in their places. */
export function requestOf(endpoint: string, ids: Record<string, string> = {}): { method: string; path: string } {
  const [method = "", path = ""] = endpoint.split(" ");
  return { method, path: path.replace(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? `none-${name}`) };
}
