import { post, secretOf, type Parameters } from "./clients.ts";
import type { Registered, World } from "../support/world.ts";

export const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
export const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";

/** The parameters of an exchange, good but for what a test changes. */
export const exchangeOf = (
  client: Registered,
  subjectToken: string,
  more: Readonly<Record<string, string>> = {},
): Parameters => ({
  grant_type: TOKEN_EXCHANGE,
  ...secretOf(client),
  subject_token: subjectToken,
  subject_token_type: ACCESS_TOKEN,
  ...more,
});

export const actorToken = (token: string) => ({ actor_token: token, actor_token_type: ACCESS_TOKEN });

/** Asks for an exchange. */
export const exchange = (
  self: World,
  client: Registered,
  subjectToken: string,
  more?: Readonly<Record<string, string>>,
  options?: globalThis.Parameters<typeof post>[3],
) => post(self, "/oauth/token", exchangeOf(client, subjectToken, more), options);

/** The token of an exchange that has to succeed. */
export async function delegated(...args: globalThis.Parameters<typeof exchange>): Promise<string> {
  const { status, body } = await exchange(...args);
  if (status !== 200) throw new Error(JSON.stringify(body));
  return body.access_token as string;
}
