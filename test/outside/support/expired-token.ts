import { decodeJwt, decodeProtectedHeader, importJWK, SignJWT, type JWK } from "jose";
import { withLowS } from "../../../src/tokens/signature.ts";
import { testSecrets } from "../../support/secrets.ts";

/** The token as it was if it had been issued two hours ago, and expired one ago: nobody has to wait for that. */
export async function expiredTokenOf(token: string): Promise<string> {
  const header = decodeProtectedHeader(token) as { alg: string; kid: string };
  const { keys } = JSON.parse(testSecrets.SIGNING_KEYS) as { keys: (JWK & { kid: string })[] };
  const key = await importJWK(
    keys.find(({ kid }) => kid === header.kid)!,
    header.alg,
  );
  const { iat = 0, ...claims } = decodeJwt(token);
  const expired = { ...claims, iat: iat - 7200, exp: iat - 3600 };
  return withLowS(await new SignJWT(expired).setProtectedHeader(header).sign(key));
}
