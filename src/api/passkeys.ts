import * as z from "zod/mini";
import { ceremonyOf, requireAssertion } from "../access/assertion.ts";
import { changeOf, originOf } from "../access/origin.ts";
import { route } from "../access/route.ts";
import { fromBase64Url, toBase64Url } from "../crypto/base64.ts";
import { badRequest, conflict, notFound } from "../http/errors.ts";
import { CHALLENGE_LIFE_MS } from "../people/challenge.ts";
import { enrolChallenge, enrolPasskey, listPasskeys, MAX_PASSKEYS, removePasskey } from "../people/passkeys.ts";
import { ALGORITHMS } from "../people/webauthn.ts";
import { readableLine } from "../validation/readable-text.ts";
import { passkeySchema, toPasskeyResponse } from "./person-schema.ts";
import { once } from "../validation/once.ts";

const success = once(() => z.literal(true));
const message = once(() => z.string());

/** The options of `navigator.credentials.create` as JSON. */
const creationOptions = () =>
  z.object({
    challenge: z.string(),
    rp: z.object({ id: z.string(), name: z.string() }),
    user: z.object({ id: z.string(), name: z.string(), displayName: z.string() }),
    pubKeyCredParams: z.array(z.object({ type: z.literal("public-key"), alg: z.int() })),
    excludeCredentials: z.array(z.object({ type: z.literal("public-key"), id: z.string() })),
    authenticatorSelection: z.object({ residentKey: z.literal("required"), userVerification: z.literal("required") }),
    attestation: z.literal("none"),
    timeout: z.int(),
  });

/** The passkeys of a person, who enrols them and nobody else. */
export const passkeyRoutes = [
  route({
    method: "GET",
    path: "/people/{id}/passkeys",
    auth: "oneself",
    summary: "List the passkeys of a person, the oldest first",
    response: () => z.object({ success: success(), passkeys: z.array(passkeySchema()) }),
    async handle({ env, params }) {
      const found = await listPasskeys(env.DB, params.id);
      if (!found) throw notFound("The person");
      return { success: true, passkeys: found.passkeys.map(toPasskeyResponse) };
    },
  }),

  route({
    method: "POST",
    path: "/people/{id}/passkeys/options",
    auth: "enrolling",
    summary: "The options for making a passkey in the browser",
    response: () => z.object({ success: success(), options: creationOptions() }),
    async handle(call) {
      const { env, caller } = call;
      const { person, session } = caller;
      const ceremony = ceremonyOf(call);
      const found = await listPasskeys(env.DB, person.id);
      return {
        success: true,
        options: {
          challenge: await enrolChallenge(ceremony, session.id),
          rp: { id: ceremony.party.id, name: "AgentAuth" },
          user: {
            id: toBase64Url(new TextEncoder().encode(person.id)),
            name: person.email,
            displayName: person.name,
          },
          pubKeyCredParams: ALGORITHMS.map((alg) => ({ type: "public-key" as const, alg })),
          excludeCredentials: (found?.credentialIds ?? []).map((id) => ({ type: "public-key" as const, id })),
          authenticatorSelection: { residentKey: "required", userVerification: "required" },
          attestation: "none",
          timeout: CHALLENGE_LIFE_MS,
        },
      };
    },
  }),

  route({
    method: "POST",
    path: "/people/{id}/passkeys",
    auth: "enrolling",
    summary:
      "Enrol a passkey: after a link or a login that asked for it, or confirmed with another passkey; beside others it confirms nothing for 24 hours",
    body: () => z.object({ label: readableLine(1, 60), clientDataJSON: z.string(), attestationObject: z.string() }),
    response: () => z.object({ success: success(), message: message(), passkey: passkeySchema() }),
    status: 201,
    async handle(call) {
      const { env, body, caller, authority, now } = call;
      const attestation = {
        clientDataJSON: parseBytes(body.clientDataJSON, "clientDataJSON"),
        attestationObject: parseBytes(body.attestationObject, "attestationObject"),
      };
      const mayEnrol = (caller.session.enrolUntil ?? 0) > now;
      if (!mayEnrol) await requireAssertion(call);
      const enrolled = { attestation, label: body.label, isConfirmed: !mayEnrol };
      const passkey = await enrolPasskey(env.DB, enrolled, {
        by: authority,
        origin: originOf(call),
        ceremony: ceremonyOf(call),
      });
      if (!passkey) {
        throw badRequest(
          `The passkey cannot be enrolled: it is known already, was not made for this request, or you have ${MAX_PASSKEYS} of them. Ask for new options.`,
          undefined,
          "passkey_refused",
        );
      }
      const isLink = caller.session.method === "link";
      return {
        success: true,
        message: isLink ? "The passkey is enrolled. Sign in with it." : "The passkey is enrolled.",
        passkey: toPasskeyResponse(passkey),
      };
    },
  }),

  route({
    method: "DELETE",
    path: "/people/{id}/passkeys/{passkey_id}",
    auth: "oneself",
    summary: "Delete a passkey of a person, unless it is their last way to sign in",
    confirmed: true,
    response: () => z.object({ success: success(), message: message() }),
    async handle(call) {
      const result = await removePasskey(call.env.DB, call.params.id, call.params.passkey_id, changeOf(call));
      if (result === "unknown") throw notFound("The passkey");
      if (result === "last") {
        throw conflict("last_passkey", "The person could not sign in any more. Enrol another passkey first.");
      }
      return { success: true, message: "The passkey is deleted." };
    },
  }),
];

/** @throws {ApiError} 400 */
function parseBytes(text: string, field: string): Uint8Array<ArrayBuffer> {
  const found = fromBase64Url(text);
  if (found) return found;
  throw badRequest(`${field} is not base64url without padding.`, [{ field, message: "must be base64url" }]);
}
