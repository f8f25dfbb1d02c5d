/**
 * Sets the headers that every response of AgentAuth has. No response is a page: if a browser is made to open one, it runs no
 * script, loads nothing, cannot be framed, and is read as its declared type.
 *
 * hono's secureHeaders would replace the stricter policy of proxied responses, and adds headers that only pages need.
 */
export function setSecurityHeaders(headers: Headers): void {
  headers.set("x-content-type-options", "nosniff");
  // A proxied response has a stricter policy already; a response that may be cached has its own Cache-Control.
  if (!headers.has("content-security-policy")) {
    headers.set("content-security-policy", "default-src 'none'; frame-ancestors 'none'");
  }
  if (!headers.has("cache-control")) headers.set("cache-control", "no-store");
}
