import * as z from "zod/mini";
import { originOf } from "../access/origin.ts";
import { limitDeviceGrants } from "../access/rate-limit.ts";
import { route } from "../access/route.ts";
import { publicOrigin } from "../access/session-cookie.ts";
import { wakeOutbox } from "../audit/message.ts";
import { beginDeviceGrant, clientName, finishDeviceGrant } from "../people/device-grant.ts";
import type { SignInContext } from "../people/sessions.ts";
import type { OAuthCall } from "./client.ts";
import { OAuthError } from "./errors.ts";

export const DEVICE_AUTHORIZATION_PATH = "/oauth/device_authorization";
/** RFC 8628 §3.4. */
export const DEVICE_CODE_GRANT = "urn:ietf:params:oauth:grant-type:device_code";

/** The page on which people type the code. */
const VERIFICATION_PATH = "/device";

/** The public client of a request, which has nothing to authenticate itself with. @throws {OAuthError} `invalid_client` */
function requirePublicClient({ form }: OAuthCall): string {
  const clientId = form.get("client_id");
  if (clientId !== undefined && clientName(clientId) !== undefined) return clientId;
  throw new OAuthError(
    "invalid_client",
    "client_id must be agentauth-cli: the device grant signs people in for that command. Agents use client_credentials.",
  );
}

const contextOf = (call: OAuthCall): SignInContext => ({
  ipAddress: call.ipAddress,
  userAgent: call.request.headers.get("user-agent") ?? "",
  now: call.now,
  origin: originOf(call),
});

export const deviceRoutes = [
  route({
    method: "POST",
    path: DEVICE_AUTHORIZATION_PATH,
    auth: "client",
    summary: "Begin to sign a person in for the command line, by a code that they type into a page (RFC 8628)",
    form: () => z.object({ client_id: z.string().check(z.describe("`agentauth-cli`.")) }),
    // No verification_uri_complete: whoever opens a link that somebody has sent has not seen which command it is for.
    response: () =>
      z.object({
        device_code: z.string(),
        user_code: z.string(),
        verification_uri: z.url(),
        expires_in: z.int(),
        interval: z.int(),
      }),
    async handle(call) {
      const { env, config, request, ipAddress } = call;
      const clientId = requirePublicClient(call);
      await limitDeviceGrants(env, ipAddress);
      const begun = await beginDeviceGrant(env.DB, clientId, contextOf(call), config.peppers);
      return {
        device_code: begun.deviceCode,
        user_code: begun.userCode,
        verification_uri: publicOrigin(config, request) + VERIFICATION_PATH,
        expires_in: begun.expiresIn,
        interval: begun.interval,
      };
    },
  }),
];

/** RFC 8628 §3.4: what a command gets that asks whether a person has let it in. @throws {OAuthError} of §3.5 until then. */
export async function grantDeviceCode(call: OAuthCall) {
  const clientId = requirePublicClient(call);
  const deviceCode = call.form.get("device_code");
  if (deviceCode === undefined) throw new OAuthError("invalid_request", "device_code is missing.");
  const answer = await finishDeviceGrant(call.env.DB, { deviceCode, clientId }, contextOf(call));
  switch (answer.result) {
    case "signed_in":
      call.waitUntil(wakeOutbox(call.env));
      return {
        access_token: answer.token,
        token_type: "Bearer" as const,
        expires_in: answer.expiresIn,
        // What its person may do, and not what an agent may: it has no permissions.
        scope: "",
      };
    case "pending":
      throw new OAuthError("authorization_pending", "Nobody has typed the code and confirmed it yet.");
    case "too_early":
      throw new OAuthError("slow_down", "Wait 5 seconds longer between two requests from now on.");
    case "denied":
      throw new OAuthError("access_denied", "The person has declined it, or may not be signed in any more.");
    case "expired":
      throw new OAuthError("expired_token", "The code has expired. Begin again.");
    case "unknown":
      throw new OAuthError("invalid_grant", "The device code is not one of this client's, or was used.");
  }
}
