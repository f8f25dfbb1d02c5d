import type { Config } from "../config/config.ts";
import type { AccessTokenSettings } from "./access-token.ts";

/**
 * The issuer, audience, lifetime and keys of access tokens.
 *
 * @param origin the origin that the request was sent to. It is the issuer only if `ISSUER` is unset, which the
 *   configuration allows in local development only: in a deployment the `Host` header has no influence.
 */
export function tokenSettings(config: Config, origin: string): AccessTokenSettings {
  const issuer = config.issuer ?? origin;
  return {
    issuer,
    audience: config.audience ?? issuer,
    accessTokenTtl: config.accessTokenTtl,
    signingKeys: config.signingKeys,
  };
}
