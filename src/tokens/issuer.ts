import type { Config } from "../config/config.ts";
import type { AccessTokenSettings } from "./access-token.ts";

/**
 * Who issues and for whom. In local development, where `ISSUER` may be unset, it is the request's own origin; anywhere
 * else a `Host` header decides nothing.
 */
export function tokenSettings(config: Config, request: Request): AccessTokenSettings {
  const issuer = config.issuer ?? new URL(request.url).origin;
  return {
    issuer,
    audience: config.audience ?? issuer,
    accessTokenTtl: config.accessTokenTtl,
    signingKeys: config.signingKeys,
  };
}
