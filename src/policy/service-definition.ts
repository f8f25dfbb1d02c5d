/** A secret of an upstream, by the end of its name: `TOKEN` is `UPSTREAM_<NAME>_TOKEN`. */
export type SecretPart = "TOKEN" | "USERNAME" | "CLIENT_ID" | "CLIENT_SECRET";

/**
 * How the real credential goes into a request. The values are secrets, `UPSTREAM_<NAME>_TOKEN` and its siblings;
 * what stands here only says where they go.
 */
export type CredentialScheme =
  /** `Authorization: Bearer <TOKEN>` (RFC 6750). */
  | { readonly scheme: "bearer" }
  /**
   * `Authorization: Basic base64(<USERNAME><usernameSuffix>:<TOKEN>)` (RFC 7617). With `orBearer`, a token that stands
   * without a username goes in as a Bearer.
   */
  | {
      readonly scheme: "basic";
      readonly usernameSuffix?: string | undefined;
      readonly orBearer?: boolean | undefined;
    }
  /** One header of the upstream's own, with an optional text before the token. */
  | { readonly scheme: "header"; readonly name: string; readonly prefix?: string | undefined }
  /** Several headers, each with the secret that it carries. */
  | { readonly scheme: "headers"; readonly headers: Readonly<Record<string, SecretPart>> }
  /**
   * An access token bought with `CLIENT_ID` and `CLIENT_SECRET` (RFC 6749 §4.4), kept until it expires. A `TOKEN` that is
   * set is used as it is instead.
   */
  | {
      readonly scheme: "client_credentials";
      /** Absolute, or a path at the base URL's origin. */
      readonly tokenUrl: string;
      readonly scope?: string | undefined;
      /** Where the token's answer names the host to call (`instance_url`), the domain that it must be below. */
      readonly instanceDomain?: string | undefined;
    }
  /** The upstream asks for no credential. */
  | { readonly scheme: "none" };

/**
 * Parameters that no agent may send unless a service says otherwise: credentials of its own, which some APIs prefer over the header
 * (RFC 6750 §2.2 and §2.3), and method overrides (Rack::MethodOverride, Salesforce), which would turn a checked read into a write.
 * `_charset_` names another encoding for the whole form (RFC 7578 §4.6), in which its names would read differently.
 */
export const REFUSED_PARAMETERS: readonly string[] = [
  "token",
  "access_token",
  "oauth_token",
  "key",
  "api_key",
  "apikey",
  "hapikey",
  "method",
  "_method",
  "_httpmethod",
  "x-http-method-override",
  "x_http_method_override",
  "_charset_",
];

/** Everything the gateway knows of one upstream. Data only: adding a service adds no code. */
export interface ServiceDefinition {
  readonly name: string;
  /** Origin, and a path prefix where the API has one; no slash at the end. Undefined where every customer has a host of its own. */
  readonly baseUrl?: string | undefined;
  readonly credential: CredentialScheme;
  /** Lines of `METHODS PATH PERMISSION`; see `parseRule`. What no line takes is uncovered. */
  readonly rules: readonly string[];
  /** `/api`: put before a path that does not begin with this one segment, so that both spellings are one. */
  readonly pathPrefix?: `/${string}` | undefined;
  /** One `.json` at the end of the path means nothing to this upstream: matched without, fetched with it. */
  readonly jsonSuffix?: boolean | undefined;
  /** Request headers that this upstream needs beside those every upstream gets, lower case, and what they may hold. */
  readonly requestHeaders?: ReadonlyMap<string, RegExp>;
  /** Headers set on every request where the agent did not send its own, lower case. */
  readonly defaultHeaders?: Readonly<Record<string, string>>;
  /** Parameters that no query may hold. `REFUSED_PARAMETERS` if left out. */
  readonly refusedParameters?: readonly string[];
  /**
   * Parameters that no form may hold, urlencoded or multipart, because upstreams merge forms with the query. `refusedParameters` if
   * left out. Where there is any, forms are read before they are sent, up to a bound.
   */
  readonly refusedFormParameters?: readonly string[];
  /**
   * Query parameters that bring other resources into the answer: parameter (lower case, without `[…]`) → value → the further
   * permissions, written like those of a rule (`customers`, `users:read+tickets:read`), `""` for none. `*` is every value of
   * letters, digits and `_`. Values are split at commas and dots, all occurrences count, and one that is not listed makes the
   * request uncovered.
   */
  readonly embeds?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /**
   * Keys that no body may hold, lower case: `token`, or `inputs.associations` below a JSON key (through arrays). Where any is
   * declared, bodies are read before they are sent: JSON, forms and multipart forms up to a bound.
   */
  readonly refusedBodyParameters?: readonly string[];
  /** The same for keys that reach beyond the rule: a body that holds one needs the whole service. */
  readonly widerBodyParameters?: readonly string[];
  /** JSON pointers (RFC 6901) to links in answers, absolute or from the host's root, that are made to lead through the gateway. */
  readonly bodyLinks?: readonly string[];
  /** Response headers that pass beside those that pass for every upstream, lower case; `stripe-*` is all that begin so. */
  readonly responseHeaders?: readonly string[];
  /** Response headers kept from the agent although their family passes, lower case. */
  readonly hiddenResponseHeaders?: readonly string[];
}
