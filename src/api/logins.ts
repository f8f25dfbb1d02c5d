import * as z from "zod/mini";
import { requireAssertion } from "../access/assertion.ts";
import { changeOf } from "../access/origin.ts";
import { countRefusedSignIn, recordRefusal } from "../access/refusals.ts";
import { route } from "../access/route.ts";
import {
  loginCookie,
  publicOrigin,
  readLoginCookie,
  readSessionCookie,
  sessionCookie,
} from "../access/session-cookie.ts";
import { wakeOutbox } from "../audit/message.ts";
import type { Config } from "../config/config.ts";
import { AuthorityLostError } from "../authority/authority.ts";
import { ApiError, conflict, forbidden, notFound, unauthorized } from "../http/errors.ts";
import type { RequestContext } from "../http/request-context.ts";
import { logFailure } from "../log/failure-log.ts";
import { LOGIN_LIFE_MS, openFlow, sealFlow, type LoginFlow, type LoginPurpose } from "../people/login-flow.ts";
import { listLogins, removeLogin, signInByLogin } from "../people/logins.ts";
import { authorizationUrl, completeLogin, newFlow } from "../people/provider.ts";
import { hashOf } from "../people/token.ts";
import { loginSchema, toLoginResponse } from "./person-schema.ts";
import { governorOf, signInContext } from "./sign-in.ts";
import { once } from "../validation/once.ts";

const success = once(() => z.literal(true));
const message = once(() => z.string());

const SIGN_IN_PATH = "/sign-in/oidc";
const CALLBACK_PATH = `${SIGN_IN_PATH}/callback`;

/** Where a browser is led after a login at the provider. It is never an address that a request names. */
const SIGNED_IN_PAGE = "/account";
const SIGN_IN_PAGE = "/sign-in";

/** Logins at the company's OpenID provider. A browser moves through them by redirects: errors are shown by the page for signing in. */
export const loginRoutes = [
  route({
    method: "GET",
    path: "/sign-in/methods",
    auth: "none",
    summary: "How people sign in here: by passkey, and at the company's OpenID provider if one is configured",
    response: () => z.object({ success: success(), methods: z.array(z.enum(["passkey", "oidc"])) }),
    handle: ({ config }) => ({ success: true, methods: config.oidc ? ["passkey", "oidc"] : ["passkey"] }),
  }),

  route({
    method: "GET",
    path: SIGN_IN_PATH,
    auth: "none",
    summary:
      "Lead the browser to the company's OpenID provider; with `enrol=true` the provider asks for a new proof, after which a passkey may be enrolled",
    limited: "address",
    ignoresInput: true,
    response: () => z.object({}),
    async handle(call) {
      const { config, request } = call;
      requireProvider(config);
      const origin = publicOrigin(config, request);
      const { searchParams, origin: called } = new URL(request.url);
      const kind = searchParams.get("enrol") === "true" ? "enrol" : "sign-in";
      // The cookies of a login are at the deployment's own origin.
      if (called !== origin) return redirect(`${origin}${SIGN_IN_PATH}${kind === "enrol" ? "?enrol=true" : ""}`);
      const begun = await begin(call, { kind });
      if ("failed" in begun) return refuse(call, "provider_unavailable");
      return redirect(begun.url, loginCookie(origin, begun.cookie, LOGIN_LIFE_MS));
    },
  }),

  route({
    method: "GET",
    path: CALLBACK_PATH,
    auth: "none",
    summary: "Where the provider sends the browser back to; it is signed in, or led to the page that says why not",
    limited: "address",
    ignoresInput: true,
    response: () => z.object({}),
    async handle(call) {
      const { env, config, request, now } = call;
      const provider = requireProvider(config);
      const sealed = readLoginCookie(request, config);
      const flow = sealed === undefined ? undefined : await openFlow(sealed, now, config.peppers);
      if (!flow) return refuse(call, "login_expired");
      const { searchParams } = new URL(request.url);
      const login = await completeLogin(provider, flow, searchParams, { redirectUri: redirectUri(call), now });
      if ("failed" in login) {
        logFailure("oidc_login_failed", login.reason, { request_id: call.requestId });
        if (login.failed === "refused") recordRefusal(call, unauthorized("sign_in_refused", login.reason), undefined);
        return refuse(call, FAULTS[login.failed]);
      }
      const { purpose, formerSession } = flow;
      let answer: Awaited<ReturnType<typeof signInByLogin>>;
      try {
        answer = await signInByLogin(env.DB, login, { ...signInContext(call), purpose, formerSession });
      } catch (error) {
        // The session in which it was to be bound has ended meanwhile.
        if (error instanceof AuthorityLostError) return refuse(call, "login_expired");
        throw error;
      }
      call.waitUntil(wakeOutbox(env));
      if (answer.result !== "signed_in") {
        countRefusedSignIn(call, answer.personId, `login at the provider: ${answer.result}`);
        const isUnbound = answer.result === "taken" || answer.result === "too_many";
        return refuse(call, isUnbound ? "login_not_bound" : "sign_in_refused");
      }
      const { token, lifeMs } = answer.signedIn;
      const origin = publicOrigin(config, request);
      const page = purpose.kind === "enrol" ? `${SIGNED_IN_PAGE}#enrol` : SIGNED_IN_PAGE;
      return redirect(page, sessionCookie(origin, token, lifeMs), loginCookie(origin, "", 0));
    },
  }),

  route({
    method: "GET",
    path: "/people/{id}/logins",
    auth: "oneself",
    summary: "List a person's logins at the company's OpenID provider, the oldest first",
    response: () => z.object({ success: success(), logins: z.array(loginSchema()) }),
    async handle({ env, params }) {
      const logins = await listLogins(env.DB, params.id);
      if (!logins) throw notFound("The person");
      return { success: true, logins: logins.map(toLoginResponse) };
    },
  }),

  route({
    method: "POST",
    path: "/people/{id}/logins",
    auth: "enrolling",
    summary:
      "Begin to bind a login at the company's OpenID provider: after a link, or confirmed with a passkey; the browser goes on at `url`",
    response: () => z.object({ success: success(), message: message(), url: z.string() }),
    async handle(call) {
      const { config, request, caller, now } = call;
      requireProvider(config);
      const { person, session } = caller;
      if ((session.enrolUntil ?? 0) <= now) await requireAssertion(call);
      const purpose = { kind: "bind", personId: person.id, sessionId: session.id, role: person.role } as const;
      const begun = await begin(call, purpose);
      if ("failed" in begun) throw new ApiError("provider_unavailable", PROVIDER_UNAVAILABLE);
      const body = {
        success: true,
        message: "Sign in at the provider: the login is bound to you then.",
        url: begun.url,
      };
      const cookie = loginCookie(publicOrigin(config, request), begun.cookie, LOGIN_LIFE_MS);
      return Response.json(body, { headers: { "Cache-Control": "no-store", "Set-Cookie": cookie } });
    },
  }),

  route({
    method: "DELETE",
    path: "/people/{id}/logins/{login_id}",
    auth: "oneself",
    summary: "Delete a login of a person with the sessions that logins opened, unless it is their last way to sign in",
    confirmed: true,
    response: () => z.object({ success: success(), message: message() }),
    async handle(call) {
      const change = { ...changeOf(call), governor: governorOf(call.config) };
      const result = await removeLogin(call.env.DB, call.params.id, call.params.login_id, change);
      if (result === "unknown") throw notFound("The login");
      if (result === "last") {
        throw conflict("last_passkey", "The person could not sign in any more. Enrol a passkey first.");
      }
      if (result === "governed") {
        throw forbidden(
          "role_required",
          "The provider gives your role by this login. Another administrator may delete it.",
        );
      }
      return { success: true, message: "The login is deleted." };
    },
  }),
];

const PROVIDER_UNAVAILABLE =
  "The company's OpenID provider does not answer as it should. Try again; the operator finds the cause in the log.";

/** @throws {ApiError} 404 */
function requireProvider({ oidc }: Config): NonNullable<Config["oidc"]> {
  if (oidc) return oidc;
  throw notFound("An OpenID provider");
}

const redirectUri = ({ config, request }: RequestContext): string => publicOrigin(config, request) + CALLBACK_PATH;

/** Begins a login: the URL at the provider, and the sealed value of the cookie. */
async function begin(
  call: RequestContext,
  purpose: LoginPurpose,
): Promise<{ url: string; cookie: string } | { failed: true }> {
  const { config, request, now } = call;
  const provider = requireProvider(config);
  const token = readSessionCookie(request, config);
  const formerSession = token === undefined ? null : await hashOf(token);
  const flow: LoginFlow = newFlow(provider, purpose, formerSession);
  const authorization = await authorizationUrl(provider, flow, redirectUri(call), now);
  if ("failed" in authorization) {
    logFailure("oidc_login_failed", authorization.reason, { request_id: call.requestId });
    return { failed: true };
  }
  return { url: authorization.url, cookie: await sealFlow(flow, now, config.peppers) };
}

type Fault = "provider_unavailable" | "login_expired" | "login_cancelled" | "login_not_bound" | "sign_in_refused";

const FAULTS = {
  cancelled: "login_cancelled",
  refused: "sign_in_refused",
  unavailable: "provider_unavailable",
} as const satisfies Record<string, Fault>;

/** Leads the browser to a page of this deployment, or to the provider. The provider is not told where it came from. */
function redirect(location: string, ...cookies: readonly string[]): Response {
  const headers = new Headers({ location, "cache-control": "no-store", "referrer-policy": "no-referrer" });
  for (const cookie of cookies) headers.append("set-cookie", cookie);
  return new Response(null, { status: 303, headers });
}

/** Leads the browser to the page for signing in, which says what went wrong. The login has ended. */
const refuse = ({ config, request }: RequestContext, fault: Fault): Response =>
  redirect(`${SIGN_IN_PAGE}#fault=${fault}`, loginCookie(publicOrigin(config, request), "", 0));
