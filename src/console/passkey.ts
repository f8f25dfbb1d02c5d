/** The options of `navigator.credentials.get` as the API has them in JSON. */
export interface AssertionOptions {
  readonly challenge: string;
  readonly rpId: string;
  readonly userVerification: UserVerificationRequirement;
  readonly timeout: number;
  readonly allowCredentials: readonly { readonly type: "public-key"; readonly id: string }[];
}

const toBase64Url = (bytes: Uint8Array): string =>
  btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

const fromBase64Url = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));

/**
 * Asks for the passkey that confirms a request, and returns the value of `AgentAuth-Assertion`.
 *
 * @throws {DOMException} `NotAllowedError` if the person does not confirm.
 */
export async function confirmWithPasskey(options: AssertionOptions): Promise<string> {
  const credential = (await navigator.credentials.get({
    publicKey: {
      ...options,
      challenge: fromBase64Url(options.challenge),
      allowCredentials: options.allowCredentials.map(({ type, id }) => ({ type, id: fromBase64Url(id) })),
    },
  })) as PublicKeyCredential;
  const response = credential.response as AuthenticatorAssertionResponse;
  const text = (buffer: ArrayBuffer) => toBase64Url(new Uint8Array(buffer));
  const assertion = {
    id: credential.id,
    clientDataJSON: text(response.clientDataJSON),
    authenticatorData: text(response.authenticatorData),
    signature: text(response.signature),
  };
  return toBase64Url(new TextEncoder().encode(JSON.stringify(assertion)));
}
