/**
 * Headers of every answer of AgentAuth's own. None is a page: what a browser is made to open of it runs nothing, loads
 * nothing, is framed by nobody and is taken for nothing but what its type says.
 */
export function setSecurityHeaders(headers: Headers): void {
  headers.set("x-content-type-options", "nosniff");
  // A proxied answer has a stricter policy already, and cacheable ones say so themselves.
  if (!headers.has("content-security-policy")) {
    headers.set("content-security-policy", "default-src 'none'; frame-ancestors 'none'");
  }
  if (!headers.has("cache-control")) headers.set("cache-control", "no-store");
}
