export { AgentAuthClient, type ExchangedToken, type ExchangeRequest, type RevokeAgentResponse } from "./client.ts";
export {
  AgentAuthError,
  AuthenticationError,
  ConflictError,
  ConnectionError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
  ServerError,
  ValidationError,
  type ErrorDetail,
} from "./errors.ts";
export type { DpopOptions } from "./dpop.ts";
export type { PrivateJwk, SigningKey } from "./jwt.ts";
export type { CallOptions, ClientOptions } from "./options.ts";
export type { AuthorizationDetail, Introspection, OAuthToken, TokenLimits } from "./oauth.ts";
export type { Retry } from "./transport.ts";
export {
  Permissions,
  type KnownPermission,
  type Permission,
  type PresetPermission,
  type Service,
} from "./permissions.ts";
export type { Services } from "./services.ts";
export type { ProxyOptions } from "./proxy.ts";
export type * from "./wire.ts";
