import * as z from "zod/mini";
import { requireAssertion } from "../access/assertion.ts";
import { changeOf } from "../access/origin.ts";
import { limitUserCodes } from "../access/rate-limit.ts";
import { route } from "../access/route.ts";
import { badRequest, notFound } from "../http/errors.ts";
import { clientName, decideDeviceGrant, findWaitingCommand, readUserCode } from "../people/device-grant.ts";
import { toTimestamp } from "./timestamp.ts";
import { once } from "../validation/once.ts";

const success = once(() => z.literal(true));
const userCode = once(() =>
  z.string().check(z.maxLength(50), z.describe("As the command shows it; case and hyphens do not matter.")),
);

/** @throws {ApiError} 400 */
function requireUserCode(text: string): string {
  const code = readUserCode(text);
  if (code !== undefined) return code;
  throw badRequest("The code has 8 letters, as in WDJB-MJHT. Type it as the command shows it.");
}

const noCommand = () => notFound("A command that waits under this code");

/** Letting a command act for the person who is signed in (RFC 8628 §3.3). */
export const deviceDecisionRoutes = [
  route({
    method: "POST",
    path: "/sign-in/device",
    auth: "person",
    summary: "Which command waits under a code that the person has typed, from where, since when",
    changesNothing: true,
    body: () => z.object({ user_code: userCode() }),
    response: () =>
      z.object({
        success: success(),
        client: z.string().check(z.describe("What asks to act for the person.")),
        ip_address: z.string().check(z.describe("Where it runs; empty if that is not known.")),
        user_agent: z.string().check(z.describe("What it calls itself: it may say anything.")),
        same_address: z.boolean().check(z.describe("Whether the person's browser has the same address.")),
        created_at: z.iso.datetime(),
        expires_at: z.iso.datetime(),
      }),
    async handle({ env, config, body, ipAddress, caller }) {
      await limitUserCodes(env, caller.id);
      const waiting = await findWaitingCommand(env.DB, requireUserCode(body.user_code), config.peppers);
      if (!waiting) throw noCommand();
      return {
        success: true,
        client: clientName(waiting.clientId) ?? waiting.clientId,
        ip_address: waiting.ipAddress,
        user_agent: waiting.userAgent,
        same_address: waiting.ipAddress !== "" && waiting.ipAddress === ipAddress,
        created_at: toTimestamp(waiting.createdAt),
        expires_at: toTimestamp(waiting.expiresAt),
      };
    },
  }),

  route({
    method: "POST",
    path: "/sign-in/device/decide",
    auth: "person",
    summary: "Let the command in that waits under a code, confirmed with a passkey, or do not",
    body: () => z.object({ user_code: userCode(), decision: z.enum(["approved", "denied"]) }),
    response: () => z.object({ success: success(), message: z.string() }),
    async handle(call) {
      const { env, config, body } = call;
      await limitUserCodes(env, call.caller.id);
      const code = requireUserCode(body.user_code);
      if (body.decision === "approved") await requireAssertion(call);
      const change = { ...changeOf(call), peppers: config.peppers };
      if (!(await decideDeviceGrant(env.DB, code, body.decision, change))) throw noCommand();
      return {
        success: true,
        message:
          body.decision === "approved"
            ? "The command is signed in for at most 8 hours. You can end it in your account."
            : "The command is not signed in.",
      };
    },
  }),
];
