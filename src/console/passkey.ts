/** Passkeys in a browser (WebAuthn Level 3 §5): for the console, and as a module of their own for the pages of people. */

/** The options of `navigator.credentials.get` as the API has them in JSON. */
export interface AssertionOptions {
  readonly challenge: string;
  readonly rpId: string;
  readonly userVerification: UserVerificationRequirement;
  readonly timeout: number;
  readonly allowCredentials: readonly { readonly type: "public-key"; readonly id: string }[];
}

export const toBase64Url = (bytes: ArrayBuffer | Uint8Array): string =>
  btoa(Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join(""))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

export const fromBase64Url = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));

/** Passkeys of the API's JSON as the browser has them. */
export const toCredentials = (credentials: AssertionOptions["allowCredentials"]) =>
  credentials.map(({ type, id }) => ({ type, id: fromBase64Url(id) }));

/** What a passkey has signed, as the API takes it. */
interface Assertion {
  readonly id: string;
  readonly clientDataJSON: string;
  readonly authenticatorData: string;
  readonly signature: string;
}

/**
 * Asks for a passkey.
 *
 * @throws {DOMException} `NotAllowedError` if the person does not confirm.
 */
export async function getPasskey(options: AssertionOptions): Promise<Assertion> {
  const credential = (await navigator.credentials.get({
    publicKey: {
      ...options,
      challenge: fromBase64Url(options.challenge),
      allowCredentials: toCredentials(options.allowCredentials),
    },
  })) as PublicKeyCredential;
  const response = credential.response as AuthenticatorAssertionResponse;
  return {
    id: credential.id,
    clientDataJSON: toBase64Url(response.clientDataJSON),
    authenticatorData: toBase64Url(response.authenticatorData),
    signature: toBase64Url(response.signature),
  };
}

/** Asks for the passkey that confirms a request, and returns the value of `AgentAuth-Assertion`. @throws as {@link getPasskey}. */
export const confirmWithPasskey = async (options: AssertionOptions): Promise<string> =>
  toBase64Url(new TextEncoder().encode(JSON.stringify(await getPasskey(options))));
