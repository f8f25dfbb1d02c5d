import * as z from "zod/mini";
import { ceremonyOf, requestOptions, toAssertion } from "../access/assertion.ts";
import { originOf } from "../access/origin.ts";
import { countRefusedSignIn, markRecorded } from "../access/refusals.ts";
import { admitPerson } from "../access/person.ts";
import { route } from "../access/route.ts";
import {
  endedCookie,
  publicOrigin,
  readSessionCookie,
  requireOwnPage,
  sessionCookie,
} from "../access/session-cookie.ts";
import type { Config } from "../config/config.ts";
import { ApiError, badRequest, conflict, unauthorized } from "../http/errors.ts";
import type { RequestContext } from "../http/request-context.ts";
import { findLink, signInByLink } from "../people/links.ts";
import { signInByPasskey, signInChallenge } from "../people/passkeys.ts";
import { signOut, type SignInContext, type SignedIn } from "../people/sessions.ts";
import { actorSchema } from "./agent-schema.ts";
import { toTimestamp } from "./timestamp.ts";
import { once } from "../validation/once.ts";

const success = once(() => z.literal(true));
const message = once(() => z.string());

/** What a browser sends beside what is needed is ignored, as the standards of signing in say. */
const assertionBody = once(() =>
  z.looseObject({
    id: z.string().check(z.maxLength(2000)),
    clientDataJSON: z.string().check(z.maxLength(4000)),
    authenticatorData: z.string().check(z.maxLength(4000)),
    signature: z.string().check(z.maxLength(4000)),
  }),
);

const signedIn = () => z.object({ success: success(), message: message() });

/** Signing people in and out. A person signs in by passkey; by a link once, to enrol one. */
export const signInRoutes = [
  route({
    method: "POST",
    path: "/sign-in/passkey/options",
    auth: "none",
    summary: "A challenge for signing in with a passkey; nobody has to say who they are",
    limited: "address",
    body: () => z.nullish(z.looseObject({})),
    response: () =>
      z.object({
        success: success(),
        options: z.object({
          challenge: z.string(),
          rpId: z.string(),
          userVerification: z.literal("required"),
          timeout: z.int(),
          allowCredentials: z.array(z.object({ type: z.literal("public-key"), id: z.string() })),
        }),
      }),
    async handle(call) {
      requireOwnPage(call.request, call.config);
      const ceremony = ceremonyOf(call);
      return { success: true, options: requestOptions(await signInChallenge(ceremony), ceremony, []) };
    },
  }),

  route({
    method: "POST",
    path: "/sign-in/passkey/verify",
    auth: "none",
    summary: "Sign in with a passkey's answer to a challenge; the session is in a cookie",
    limited: "address",
    body: assertionBody,
    response: signedIn,
    async handle(call) {
      requireOwnPage(call.request, call.config);
      const assertion = toAssertion(call.body);
      if (!assertion) throw badRequest("clientDataJSON, authenticatorData and signature have to be base64url.");
      const session = await signInByPasskey(call.env.DB, assertion, ceremonyOf(call), {
        ...signInContext(call),
        governor: governorOf(call.config),
      });
      if ("refused" in session) {
        countRefusedSignIn(call, session.personId, "passkey");
        const error = unauthorized(
          "sign_in_refused",
          "This passkey signs nobody in here. It may be unknown, its person suspended, or signed in at the company's provider only; ask an administrator for a link.",
        );
        throw markRecorded(error);
      }
      await endFormer(call);
      return withSession(call, session, { success: true, message: "Signed in." });
    },
  }),

  route({
    method: "POST",
    path: "/sign-in/link",
    auth: "none",
    summary: "Read whose sign-in link this is, and with `person_id` use it; its session only enrols a passkey",
    limited: "address",
    body: () =>
      z.looseObject({
        token: z.string().check(z.minLength(1), z.maxLength(100)),
        person_id: z.optional(
          z
            .string()
            .check(
              z.maxLength(64),
              z.describe("The `person_id` that the answer without it had: whoever uses the link has seen whose it is."),
            ),
        ),
      }),
    response: () =>
      z.object({
        success: success(),
        message: message(),
        person_id: z.string(),
        email: z.string(),
        name: z.string(),
        created_by: actorSchema(),
        expires_at: z.iso.datetime(),
        used: z.boolean(),
      }),
    async handle(call) {
      const { env, config, request, body } = call;
      requireOwnPage(request, config);
      const link = await findLink(env.DB, body.token);
      if (!link) throw linkNotValid();
      const current = await admitPerson(call).catch(onlyIfEnded);
      if (current && current.id !== link.personId) {
        throw conflict(
          "signed_in_already",
          `${current.person.email} is signed in in this browser, and the link is for ${link.email}. Sign out first, or use another browser.`,
        );
      }
      const answer = {
        success: true as const,
        person_id: link.personId,
        email: link.email,
        name: link.name,
        created_by: link.createdBy,
        expires_at: toTimestamp(link.expiresAt),
      };
      if (body.person_id === undefined) return { ...answer, message: `The link is for ${link.email}.`, used: false };
      const session = await signInByLink(env.DB, body.token, body.person_id, signInContext(call));
      if (!session) throw linkNotValid();
      await endFormer(call);
      return withSession(call, session, { ...answer, message: "Enrol a passkey now.", used: true });
    },
  }),

  route({
    method: "POST",
    path: "/sign-out",
    auth: "none",
    summary: "End the session of this browser",
    response: signedIn,
    async handle(call) {
      requireOwnPage(call.request, call.config);
      await endFormer(call);
      const origin = publicOrigin(call.config, call.request);
      return Response.json(
        { success: true, message: "Signed out." },
        { headers: { "Cache-Control": "no-store", "Set-Cookie": endedCookie(origin) } },
      );
    },
  }),
];

/** A session that has ended does not keep anybody from signing in. */
function onlyIfEnded(error: unknown): undefined {
  if (error instanceof ApiError && error.code === "sign_in_required") return undefined;
  throw error;
}

/** A session that the browser had is never continued by the next one. */
async function endFormer(call: RequestContext): Promise<void> {
  const token = readSessionCookie(call.request, call.config);
  if (token !== undefined) await signOut(call.env.DB, token, { now: call.now, origin: originOf(call) });
}

/** The issuer that gives the roles by its claim (`OIDC_ROLE_CLAIM`); null if none does. */
export const governorOf = ({ oidc }: Pick<Config, "oidc">): string | null => (oidc?.roleClaim ? oidc.issuer : null);

/** From where somebody signs in. */
export const signInContext = (call: RequestContext): SignInContext => ({
  ipAddress: call.ipAddress,
  userAgent: call.request.headers.get("user-agent") ?? "",
  now: call.now,
  origin: originOf(call),
});

function withSession({ config, request }: RequestContext, { token, lifeMs }: SignedIn, body: object): Response {
  const cookie = sessionCookie(publicOrigin(config, request), token, lifeMs);
  return Response.json(body, { headers: { "Cache-Control": "no-store", "Set-Cookie": cookie } });
}

const linkNotValid = (): ApiError =>
  new ApiError(
    "link_not_valid",
    "The link was used, has expired, or is not one of this deployment. Ask for another one.",
  );
