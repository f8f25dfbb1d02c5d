import { clientParameters, type Session } from "./identity.ts";
import type { CallOptions } from "./options.ts";
import type { Permission } from "./permissions.ts";
import { send, type Transport } from "./transport.ts";
import type { GrantConditions } from "./wire.ts";

/** A permission with narrower limits than its grant has (RFC 9396). */
export interface AuthorizationDetail {
  readonly type: "agentauth_grant";
  readonly permission: Permission;
  readonly where?: Readonly<Record<string, GrantConditions | string | number | boolean>> | undefined;
  readonly expires_at?: string | undefined;
}

/** What a token is limited to. */
export interface TokenLimits {
  readonly scope?: readonly Permission[] | undefined;
  /** What the token is for, as URLs: `https://agentauth.example.com/proxy/github` (RFC 8707). */
  readonly resource?: string | readonly string[] | undefined;
  readonly authorizationDetails?: readonly AuthorizationDetail[] | undefined;
}

/** A token without a refresh token (RFC 6749 §5.1). */
export interface OAuthToken {
  readonly access_token: string;
  readonly token_type: "Bearer" | "DPoP";
  readonly expires_in: number;
  readonly scope: string;
  readonly authorization_details?: readonly object[];
}

/** Whether a token is valid now, and what it gives (RFC 7662 §2.2). Of one that is not, nothing but `active` is said. */
export interface Introspection {
  readonly active: boolean;
  readonly scope?: string;
  readonly client_id?: string;
  readonly sub?: string;
  readonly aud?: string | readonly string[];
  readonly token_type?: string;
  readonly exp?: number;
  readonly cnf?: { readonly jkt: string };
  readonly act?: object;
  readonly authorization_details?: readonly object[];
  readonly [claim: string]: unknown;
}

/** Sends a form to an OAuth endpoint, with what the client proves itself with. */
export async function sendForm<Answer>(
  transport: Transport,
  session: Session,
  path: string,
  parameters: Readonly<Record<string, string | readonly string[] | undefined>>,
  { signal }: CallOptions = {},
): Promise<Answer> {
  // Anew for each attempt: an assertion is accepted once.
  const data = async (): Promise<URLSearchParams> => {
    const form = new URLSearchParams(await clientParameters(session));
    for (const [name, value] of Object.entries(parameters)) {
      for (const one of value === undefined ? [] : [value].flat()) form.append(name, one);
    }
    return form;
  };
  return send(transport, { method: "POST", path, data, repeatable: true, signal });
}

/** The parameters of limits. */
export const limitParameters = ({ scope, resource, authorizationDetails }: TokenLimits) => ({
  scope: scope?.join(" "),
  resource,
  authorization_details: authorizationDetails && JSON.stringify(authorizationDetails),
});
