import { spawnSync } from "node:child_process";
import { createPublicKey } from "node:crypto";
import { writeFileSync } from "node:fs";

export const hasHaproxy = (): boolean => spawnSync("haproxy", ["-v"]).status === 0;

/**
 * The native ceiling: HAProxy on one thread with its own JWT verification. It verifies every request, since it remembers no
 * token, and its map of paths to permissions is three lines long.
 */
export function haproxyConfig(
  file: string,
  {
    port,
    upstreamPort,
    alg,
    jwk,
    issuer,
    token,
  }: {
    port: number;
    upstreamPort: number;
    alg: "ES256" | "RS256";
    jwk: Record<string, string>;
    issuer: string;
    token: string;
  },
): void {
  const pem = `${file}.pem`;
  writeFileSync(pem, createPublicKey({ key: jwk, format: "jwk" }).export({ type: "spki", format: "pem" }));
  writeFileSync(
    file,
    `global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend gateway
  bind 127.0.0.1:${port}
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request deny deny_status 401 unless { var(txn.alg) -m str ${alg} }
  http-request deny deny_status 401 unless { var(txn.bearer),jwt_verify(txn.alg,"${pem}") -m int 1 }
  http-request deny deny_status 401 unless { var(txn.bearer),jwt_payload_query('$.iss') -m str ${issuer} }
  http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 if { var(txn.exp),sub(txn.now) -m int lt 0 }
  http-request set-var(txn.scope) var(txn.bearer),jwt_payload_query('$.scope')
  acl reading method GET HEAD
  acl issues path_reg ^/proxy/github/repos/[^/]+/[^/]+/issues(/|$)
  acl contents path_reg ^/proxy/github/repos/[^/]+/[^/]+/contents/
  http-request deny deny_status 403 if issues reading !{ var(txn.scope) -m sub github:issues:read }
  http-request deny deny_status 403 if issues !reading !{ var(txn.scope) -m sub github:issues:write }
  http-request deny deny_status 403 if contents reading !{ var(txn.scope) -m sub github:repos:read }
  http-request deny deny_status 403 unless issues or contents
  http-request set-header authorization "Bearer ${token}"
  http-request replace-path /proxy/github(/.*) \\1
  default_backend upstream
backend upstream
  server one 127.0.0.1:${upstreamPort}
`,
  );
}
