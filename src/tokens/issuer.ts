import type { Config } from "../config/config.ts";
import type { AccessTokenSettings } from "./access-token.ts";

/**
 * The issuer, audience, lifetime and keys of access tokens.
 *
 * @param url the URL that the request was sent to. Its origin is the issuer only if `ISSUER` is unset, which the configuration
 *   allows in local development only: in a deployment the `Host` header has no influence, and the URL is not parsed.
 */
export function tokenSettings(config: Config, url: string): AccessTokenSettings {
  const issuer = config.issuer ?? new URL(url).origin;
  return {
    issuer,
    audience: config.audience ?? issuer,
    accessTokenTtl: config.accessTokenTtl,
    signingKeys: config.signingKeys,
    trustedIssuers: config.trustedIssuers,
  };
}
