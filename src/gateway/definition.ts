/**
 * How the real credential goes into a request. The values are secrets, `UPSTREAM_<NAME>_TOKEN` and its siblings;
 * what stands here only says where they go.
 */
export type CredentialScheme =
  /** `Authorization: Bearer <TOKEN>` (RFC 6750). */
  | { readonly scheme: "bearer" }
  /** `Authorization: Basic base64(<USERNAME>:<TOKEN>)` (RFC 7617). */
  | { readonly scheme: "basic" }
  /** One header of the upstream's own, with an optional text before the token. */
  | { readonly scheme: "header"; readonly name: string; readonly prefix?: string | undefined }
  /** The upstream asks for no credential. */
  | { readonly scheme: "none" };

/** Everything the gateway knows of one upstream. Data only: adding a service adds no code. */
export interface ServiceDefinition {
  readonly name: string;
  /** Origin, and a path prefix where the API has one; no slash at the end. */
  readonly baseUrl: string;
  readonly credential: CredentialScheme;
  /** Lines of `METHODS PATH PERMISSION`; see `parseRule`. What no line takes is uncovered. */
  readonly rules: readonly string[];
  /** Request headers that this upstream needs beside those every upstream gets, lower case. */
  readonly requestHeaders?: readonly string[];
  /** Headers set on every request where the agent did not send its own, lower case. */
  readonly defaultHeaders?: Readonly<Record<string, string>>;
  /** Query parameters refused beside those refused for every upstream. */
  readonly refusedParameters?: readonly string[];
  /** Response headers kept from the agent beside those kept for every upstream, lower case. */
  readonly hiddenResponseHeaders?: readonly string[];
}
