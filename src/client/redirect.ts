import { AgentAuthError } from "./errors.ts";

/** The parts of a request that a redirect may change. */
export interface ProxiedRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: RequestInit["body"];
}

const MAX_REDIRECTS = 20;

/**
 * The request that follows a redirect, as the Fetch standard makes it (HTTP-redirect fetch), but only within the service.
 *
 * @param root The URL of the service at the gateway, which the next URL must lie below.
 * @param followed How many redirects were followed before.
 * @returns Undefined if the response is no redirect.
 * @throws {AgentAuthError} `redirect_refused`, with a message that says where the redirect leads.
 */
export function followRedirect(
  response: Response,
  request: ProxiedRequest,
  { root, service, mode, followed }: { root: string; service: string; mode: string | undefined; followed: number },
): ProxiedRequest | undefined {
  const { status } = response;
  const location = response.headers.get("location");
  // With `redirect: "manual"` browsers hide the redirect. Not every platform's types have this type of response.
  const isHidden = (response.type as string) === "opaqueredirect";
  if (!isHidden && !(isRedirect(status) && location !== null)) return undefined;
  const refuse = (why: string): never => {
    throw new AgentAuthError({ status, code: "redirect_refused", message: `${service} redirects ${why}` });
  };
  if (isHidden) refuse("where this platform does not show. Call it from a server, which can see where that is.");
  if (mode === "error") refuse('and redirect is "error".');
  if (followed === MAX_REDIRECTS) refuse(`more than ${MAX_REDIRECTS} times.`);
  if (!URL.canParse(location!, request.url)) refuse("to what is no URL.");
  const to = new URL(location!, request.url);
  // Without its query, which may contain a signature.
  if (!isInside(to, root)) refuse(`out of the service, to ${to.origin}${to.pathname}. ${LEAVING}`);
  if (status !== 303 && !canRepeat(request.body)) {
    refuse("a stream, which cannot be sent again. Send a body that can.");
  }
  const { method, body } = request;
  const isPost = (status === 301 || status === 302) && method.toUpperCase() === "POST";
  if (!isPost && (status !== 303 || /^(?:GET|HEAD)$/i.test(method))) {
    return { url: to.href, method, headers: request.headers, body };
  }
  const headers = new Headers(request.headers);
  for (const name of ["encoding", "language", "location", "type"]) headers.delete(`content-${name}`);
  return { url: to.href, method: "GET", headers, body: undefined };
}

const LEAVING =
  'Ask with redirect: "manual" to get the answer with its Location, and call that without the token if you trust it.';

const isRedirect = (status: number): boolean => [301, 302, 303, 307, 308].includes(status);

/** Whether a parsed URL is one of the service's, so that the token may be sent there. */
function isInside({ origin, pathname, username, password }: URL, root: string): boolean {
  const base = new URL(root);
  return origin === base.origin && `${pathname}/`.startsWith(`${base.pathname}/`) && username === "" && password === "";
}

/** Whether a body can be sent a second time. A stream, Node's kinds included, has been read by then. */
export function canRepeat(body: unknown): boolean {
  const stream = body as Partial<ReadableStream> | undefined;
  return !(stream?.getReader || stream?.[Symbol.asyncIterator]);
}
