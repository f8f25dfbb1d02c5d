import * as z from "zod/mini";
import { route } from "../access/route.ts";
import { MCP_PATH, RESOURCE_METADATA_PATH } from "../http/challenge.ts";
import { notFound } from "../http/errors.ts";
import type { RequestContext } from "../http/request-context.ts";
import { DPOP_ALGORITHMS } from "../access/dpop.ts";
import { listService } from "../permissions/catalogue.ts";
import { ASSERTION_ALGORITHMS } from "./client-assertion.ts";
import { TOKEN_PATH } from "./client.ts";
import { DEVICE_AUTHORIZATION_PATH } from "./device.ts";
import { OAuthError, toOAuthResponse } from "./errors.ts";
import { GRANT_TYPE } from "../tokens/authorization-details.ts";
import { INTROSPECTION_PATH } from "./introspection.ts";
import { REVOCATION_PATH } from "./revocation.ts";
import { resourcePaths } from "./resource.ts";
import { GRANT_TYPES } from "./token.ts";
import { once } from "../validation/once.ts";

const url = once(() => z.url());
const texts = once(() => z.array(z.string()));

const AUTHORIZATION_PATH = "/oauth/authorize";
const JWKS_PATH = "/.well-known/jwks.json";

const AUTH_METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"];

const authorizationServer = once(() =>
  z.object({
    issuer: url(),
    authorization_endpoint: url(),
    token_endpoint: url(),
    introspection_endpoint: url(),
    revocation_endpoint: url(),
    device_authorization_endpoint: url(),
    jwks_uri: url(),
    scopes_supported: texts(),
    response_types_supported: texts().check(z.describe("None: nobody signs in here for an agent.")),
    grant_types_supported: texts(),
    token_endpoint_auth_methods_supported: texts(),
    token_endpoint_auth_signing_alg_values_supported: texts(),
    introspection_endpoint_auth_methods_supported: texts(),
    introspection_endpoint_auth_signing_alg_values_supported: texts(),
    revocation_endpoint_auth_methods_supported: texts(),
    revocation_endpoint_auth_signing_alg_values_supported: texts(),
    authorization_details_types_supported: texts(),
    dpop_signing_alg_values_supported: texts(),
    protected_resources: texts(),
  }),
);

const protectedResource = once(() =>
  z.object({
    resource: url(),
    authorization_servers: z.array(url()),
    jwks_uri: z.optional(url()),
    bearer_methods_supported: texts(),
    dpop_signing_alg_values_supported: texts(),
    resource_name: z.string(),
  }),
);

/** A minute: what is published changes with the configuration only. */
const CACHE_CONTROL = "public, max-age=60";

/** What a client has to know to get a token, from the issuer alone. */
export const metadataRoutes = [
  route({
    method: "GET",
    path: "/.well-known/oauth-authorization-server",
    auth: "none",
    ignoresInput: true,
    summary: "The metadata of this authorization server (RFC 8414)",
    response: () => authorizationServer(),
    cacheControl: CACHE_CONTROL,
    handle: ({ issuer, config: { catalogue, services } }) => ({
      issuer,
      authorization_endpoint: `${issuer}${AUTHORIZATION_PATH}`,
      token_endpoint: `${issuer}${TOKEN_PATH}`,
      introspection_endpoint: `${issuer}${INTROSPECTION_PATH}`,
      revocation_endpoint: `${issuer}${REVOCATION_PATH}`,
      device_authorization_endpoint: `${issuer}${DEVICE_AUTHORIZATION_PATH}`,
      jwks_uri: `${issuer}${JWKS_PATH}`,
      scopes_supported: Object.keys(catalogue).flatMap((service) => listService(catalogue, service)),
      response_types_supported: [],
      grant_types_supported: GRANT_TYPES,
      token_endpoint_auth_methods_supported: AUTH_METHODS,
      token_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
      introspection_endpoint_auth_methods_supported: AUTH_METHODS,
      introspection_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
      revocation_endpoint_auth_methods_supported: AUTH_METHODS,
      revocation_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
      authorization_details_types_supported: [GRANT_TYPE],
      dpop_signing_alg_values_supported: DPOP_ALGORITHMS,
      protected_resources: [issuer, ...resourcePaths({ services }).map((path) => `${issuer}${path}`)],
    }),
  }),

  route({
    method: "GET",
    path: RESOURCE_METADATA_PATH,
    auth: "none",
    ignoresInput: true,
    summary: "The metadata of this deployment as a protected resource (RFC 9728)",
    response: () => protectedResource(),
    cacheControl: CACHE_CONTROL,
    handle: (call) => ({
      ...resourceMetadata(call, ""),
      jwks_uri: `${call.issuer}${JWKS_PATH}`,
      resource_name: "AgentAuth",
    }),
  }),

  route({
    method: "GET",
    path: `${RESOURCE_METADATA_PATH}/proxy/{service}`,
    auth: "none",
    ignoresInput: true,
    summary: "The metadata of a proxied service as a protected resource (RFC 9728)",
    response: () => protectedResource(),
    cacheControl: CACHE_CONTROL,
    handle(call) {
      const { service } = call.params;
      if (!call.config.services.has(service)) throw notFound("The service");
      return { ...resourceMetadata(call, `/proxy/${service}`), resource_name: `${service} through AgentAuth` };
    },
  }),

  route({
    method: "GET",
    path: `${RESOURCE_METADATA_PATH}${MCP_PATH}`,
    auth: "none",
    ignoresInput: true,
    summary: "The metadata of the MCP server as a protected resource (RFC 9728)",
    response: () => protectedResource(),
    cacheControl: CACHE_CONTROL,
    handle: (call) => ({ ...resourceMetadata(call, MCP_PATH), resource_name: "The MCP server of AgentAuth" }),
  }),

  route({
    method: "GET",
    path: AUTHORIZATION_PATH,
    auth: "none",
    ignoresInput: true,
    summary: "The authorization endpoint (RFC 6749 §3.1), which has no response type yet",
    response: () => z.object({}),
    handle: () =>
      toOAuthResponse(
        new OAuthError(
          "unsupported_response_type",
          `An agent gets its token from POST ${TOKEN_PATH}, without a browser.`,
        ),
      ),
  }),
];

/** What the metadata of every resource says. It names no scopes, so that a client which asks for none gets those of its agent. */
const resourceMetadata = ({ issuer }: RequestContext, path: string) => ({
  resource: `${issuer}${path}`,
  authorization_servers: [issuer],
  bearer_methods_supported: ["header"],
  dpop_signing_alg_values_supported: DPOP_ALGORITHMS,
});
