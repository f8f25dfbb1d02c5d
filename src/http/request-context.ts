import { createMiddleware } from "hono/factory";
import { newUuid } from "../crypto/random.ts";
import { missingBindings } from "../config/bindings.ts";
import { ConfigError, loadConfig, type Config } from "../config/config.ts";
import { Timing } from "../log/timing.ts";
import { misconfigured } from "./errors.ts";
import { checkHost, checkLocalRequest } from "./host.ts";
import { setSecurityHeaders } from "./security-headers.ts";

/** What is known about a request before its path, its caller and its body are looked at. */
export interface RequestContext {
  readonly request: Request;
  readonly env: Env;
  readonly config: Config;
  /**
   * The `iss` of this deployment's tokens: an origin. In local development without `ISSUER` it is that of the request. In a deployment the
   * `Host` header has no influence, and the URL is not parsed.
   */
  readonly issuer: string;
  readonly requestId: string;
  /** Empty if unknown. */
  readonly ipAddress: string;
  /** Milliseconds. For a request whose body is read first, the time at which it had arrived. */
  readonly now: number;
  /** Where the time goes. Shared by everything that is made of this request's context. */
  readonly timing: Timing;
  readonly waitUntil: (work: Promise<unknown>) => void;
  /**
   * Returns the access token of a request that may have it in another place than `Authorization: Bearer`. Undefined for requests that may
   * not.
   *
   * @throws {ApiError} 401 if there is none, 400 if there are several.
   */
  readonly readToken?: () => string;
  /** The request as its sender has sent it, where `request` was made of it: a DPoP proof is of that one. */
  readonly sentRequest?: Request;
  /** The resource of RFC 8707 that the request is for, as a URL. Undefined on the REST face, which is none of its own. */
  readonly resource?: string;
}

export interface AppEnv {
  Bindings: Env;
  Variables: { requestId: string; context: RequestContext };
}

/**
 * Checks the host of a request, reads the configuration, and returns the request with both. Every request passes here first.
 *
 * @param requestId made here and never taken from the request: it finds exactly one request in the log.
 * @throws {ApiError} 400 for a malformed host, 503 for a deployment that is not set up, and in local development 421 for
 * another host or origin.
 */
export function createRequestContext(
  request: Request,
  env: Env,
  executionCtx: Pick<ExecutionContext, "waitUntil">,
  requestId: string,
): RequestContext {
  checkHost(request);
  const config = configOf(env);
  if (config.development) checkLocalRequest(request, config);
  return {
    request,
    env,
    config,
    issuer: config.issuer ?? new URL(request.url).origin,
    requestId,
    ipAddress: request.headers.get("cf-connecting-ip") ?? "",
    now: Date.now(),
    timing: new Timing(),
    waitUntil: (work) => executionCtx.waitUntil(work),
  };
}

export const requestContext = createMiddleware<AppEnv>(async (c, next) => {
  const requestId = newUuid(Date.now());
  c.set("requestId", requestId);
  c.set("context", createRequestContext(c.req.raw, c.env, c.executionCtx, requestId));
  await next();
  const { headers } = c.res;
  headers.set("x-request-id", requestId);
  setSecurityHeaders(headers);
});

function configOf(env: Env): Config {
  const missing = missingBindings(env);
  if (missing.length > 0) throw misconfigured(missing);
  try {
    return loadConfig(env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw misconfigured(error.faults);
  }
}
