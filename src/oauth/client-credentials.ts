import { decodeBasic } from "../http/basic.ts";
import type { Form } from "../http/form.ts";
import { decodeFormText } from "../policy/parameter-name.ts";

/** `client_assertion_type` of RFC 7523 §2.2. */
const JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/** How a client proves itself at an OAuth endpoint. */
export type Credentials =
  /** `client_secret_basic` or `client_secret_post` (RFC 6749 §2.3.1). */
  | { readonly method: "secret"; readonly clientId: string; readonly secret: string }
  /** `private_key_jwt` (RFC 7523 §2.2). `clientId` is undefined if only the assertion names the client. */
  | { readonly method: "assertion"; readonly clientId: string | undefined; readonly assertion: string };

export type CredentialsFault = {
  readonly error: "invalid_request" | "invalid_client";
  readonly description: string;
};

const invalidRequest = (description: string) => ({ error: "invalid_request", description }) as const;
const invalidClient = (description: string) => ({ error: "invalid_client", description }) as const;

const HOW =
  "Send the agent's id and its API key as client_id and client_secret, by HTTP Basic or in the form, or an assertion as client_assertion.";

/** Reads how a client authenticates itself. A client uses one method in each request (RFC 6749 §2.3). */
export function readCredentials(headers: Headers, form: Form): Credentials | CredentialsFault {
  const basic = readBasic(headers.get("authorization"));
  if (basic && "error" in basic) return basic;
  const clientId = form.get("client_id");
  const secret = form.get("client_secret");
  const assertion = form.get("client_assertion");
  const type = form.get("client_assertion_type");

  if ([basic, secret, assertion ?? type].filter((one) => one !== undefined).length > 1) {
    return invalidRequest("The client authenticates itself in several ways. Use one of them.");
  }
  if (basic) {
    if (clientId !== undefined && clientId !== basic.clientId) {
      return invalidRequest("client_id is another one than that of the Authorization header.");
    }
    return basic;
  }
  if (assertion !== undefined || type !== undefined) {
    if (type !== JWT_BEARER) return invalidRequest(`client_assertion_type must be ${JWT_BEARER}.`);
    if (assertion === undefined) return invalidRequest("client_assertion is missing.");
    return { method: "assertion", clientId, assertion };
  }
  if (secret === undefined || clientId === undefined) {
    return invalidClient(`The client has not authenticated itself. ${HOW}`);
  }
  return { method: "secret", clientId, secret };
}

/** The id and the secret of HTTP Basic, each form-encoded before it was joined (RFC 6749 §2.3.1). Undefined for no header. */
function readBasic(
  authorization: string | null,
): Extract<Credentials, { method: "secret" }> | CredentialsFault | undefined {
  if (authorization === null) return undefined;
  const [, encoded] = /^basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(authorization) ?? [];
  if (encoded === undefined) return invalidClient(`The Authorization header is not HTTP Basic. ${HOW}`);
  const [clientId, secret] = (decodeBasic(encoded) ?? []).map(decodeFormText);
  if (clientId && secret) return { method: "secret", clientId, secret };
  return invalidClient(
    "The Authorization header is not the base64 of a form-encoded client_id, a colon and a client_secret.",
  );
}
