import { importJWK, jwtVerify, type CryptoKey } from "jose";

/**
 * The checks that the Node peers share: an ES256 access token pinned in algorithm, type, issuer and audience, and the permission
 * that the request needs. A verified token is cached as in AgentAuth's gateway; without that the peers would
 * verify a signature on every request.
 */
const settings = JSON.parse(process.env.BENCH_PEER!) as {
  jwk: Record<string, string>;
  issuer: string;
  upstream: string;
  token: string;
};
export const { upstream, token: upstreamToken } = settings;

const { d: _private, ...publicHalf } = settings.jwk;
const key = (await importJWK(publicHalf, "ES256")) as CryptoKey;
const cache = new Map<string, { exp: number; scope: ReadonlySet<string> }>();

/** 200, or the status to refuse with. */
export async function check(authorization: string | undefined, method: string, path: string): Promise<200 | 401 | 403> {
  const token = /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1];
  if (!token) return 401;
  let known = cache.get(token);
  if (!known || known.exp * 1000 <= Date.now()) {
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms: ["ES256"],
        typ: "at+jwt",
        issuer: settings.issuer,
        audience: settings.issuer,
        requiredClaims: ["sub", "iat", "exp", "jti", "scope"],
      });
      known = { exp: payload.exp!, scope: new Set(String(payload.scope).split(" ")) };
    } catch {
      return 401;
    }
    if (cache.size >= 5000) cache.delete(cache.keys().next().value!);
    cache.set(token, known);
  }
  const section = /^\/repos\/[^/]+\/[^/]+\/(\w+)/.exec(path)?.[1];
  const resource = section === "issues" ? "issues" : section === "contents" ? "repos" : undefined;
  const action = method === "GET" || method === "HEAD" ? "read" : "write";
  return resource && known.scope.has(`github:${resource}:${action}`) ? 200 : 403;
}
