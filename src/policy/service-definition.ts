import type { HeaderRules } from "./header-rule.ts";
import type { LimitDefinition } from "./limits.ts";
import type { TokenPlace } from "./token-place.ts";

/** A secret of an upstream, by the end of its name: `TOKEN` is `UPSTREAM_<NAME>_TOKEN`. */
export type SecretPart = "TOKEN" | "USERNAME" | "CLIENT_ID" | "CLIENT_SECRET" | "PRIVATE_KEY";

/**
 * How the real credential is put into a request. The values are secrets (`UPSTREAM_<NAME>_TOKEN` and the other parts); a scheme only says
 * where they go.
 */
export type CredentialScheme =
  /** `Authorization: Bearer <TOKEN>` (RFC 6750). */
  | { readonly scheme: "bearer" }
  | BasicScheme
  /** One header of the upstream's own, with an optional text in front of the token. */
  | { readonly scheme: "header"; readonly name: string; readonly prefix?: string | undefined }
  /** Several headers, each with the secret that it carries. */
  | { readonly scheme: "headers"; readonly headers: Readonly<Record<string, SecretPart>> }
  /** The query parameter `name`, with the token percent-encoded. No agent may send this parameter itself. */
  | { readonly scheme: "query"; readonly name: string }
  | TokenScheme
  /** The upstream needs no credential. */
  | { readonly scheme: "none" };

/** `Authorization: Basic base64(<USERNAME><usernameSuffix>:<TOKEN>)` (RFC 7617). */
export interface BasicScheme {
  readonly scheme: "basic";
  readonly usernameSuffix?: string | undefined;
  /** Whether a token without a user name is sent as a Bearer. */
  readonly orBearer?: boolean | undefined;
  /** `username`: the token is the user name, and the password is empty. By default it is the password. */
  readonly tokenAs?: "username" | "password" | undefined;
  /** Whether answers may contain the user name. By default only an e-mail address may come back, because a user name can be a key. */
  readonly publicUsername?: boolean | undefined;
}

/** The schemes whose access token is requested from a token endpoint. If `TOKEN` is set, it is sent as a Bearer instead. */
export type TokenScheme = ClientCredentialsScheme | JwtBearerScheme | GitHubAppScheme;

interface TokenEndpoint {
  /** Absolute, or a path at the base URL's origin. */
  readonly tokenUrl: string;
  readonly scope?: string | undefined;
  /** Further parameters of the token request. */
  readonly parameters?: Readonly<Record<string, string>> | undefined;
  /** If the token response names the host to call (`instance_url`), the domain that this host must be below. */
  readonly instanceDomain?: string | undefined;
}

/** The client credentials grant with `CLIENT_ID` and `CLIENT_SECRET` (RFC 6749 §4.4). */
export interface ClientCredentialsScheme extends TokenEndpoint {
  readonly scheme: "client_credentials";
  /** How the client authenticates (RFC 6749 §2.3.1, named as in RFC 7591 §2). By default `client_secret_post`. */
  readonly authMethod?: "client_secret_post" | "client_secret_basic" | undefined;
  readonly body?: "form" | "json" | undefined;
  readonly audience?: string | undefined;
  /** RFC 8707 §2. */
  readonly resource?: readonly string[] | undefined;
}

/** The algorithms of RFC 7518 §3.1 that a private key can sign an assertion with. */
export type AssertionAlgorithm = "RS256" | "RS384" | "RS512" | "PS256" | "ES256" | "ES384";

/** The JWT bearer grant (RFC 7523 §2.1): a JWT of `CLIENT_ID` that is signed with `PRIVATE_KEY`. */
interface JwtBearerScheme extends TokenEndpoint {
  readonly scheme: "jwt_bearer";
  /** The claim `aud`. By default the URL of the token endpoint. */
  readonly audience?: string | undefined;
  /** Further claims, such as `sub` and Google's `scope`. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
  readonly algorithm?: AssertionAlgorithm | undefined;
  /** The header parameter `kid`. */
  readonly keyId?: string | undefined;
}

/**
 * The token of a GitHub App's installation: `CLIENT_ID` is the app's client id or app id, `PRIVATE_KEY` its key
 * (https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-an-installation-access-token-for-a-github-app).
 */
interface GitHubAppScheme {
  readonly scheme: "github_app";
  readonly installationId: string;
  /** The names of the only repositories that the token may reach. By default all of the installation. */
  readonly repositories?: readonly string[] | undefined;
  /** The only permissions that the token has. By default all of the installation. */
  readonly permissions?: Readonly<Record<string, string>> | undefined;
}

/**
 * Parameters that no agent may send to an upstream of the operator's own unless its `refuse_parameters` says otherwise, because they mean
 * the same in many APIs: access tokens (RFC 6750 §2.2 and §2.3, and Yii's spelling,
 * https://www.yiiframework.com/doc/api/2.0/yii-filters-auth-queryparamauth), which some prefer over the header; and method overrides
 * (Rack::MethodOverride, Spring, Salesforce), which would turn a checked read into a write. `_charset_` names another encoding for the whole
 * form (RFC 7578 §4.6), in which its names would read differently.
 */
export const COMMON_REFUSED_PARAMETERS: readonly string[] = [
  // The names with `-` stand before those with `_`, which name a spelling that could be either.
  "access-token",
  "access_token",
  "oauth_token",
  "_method",
  "_httpmethod",
  "x-http-method-override",
  "x_http_method_override",
  "_charset_",
];

/**
 * Parameters that no agent may send to a built-in service unless its definition says otherwise: the common ones, and keys by the names that
 * these services and their predecessors have used.
 */
export const REFUSED_PARAMETERS: readonly string[] = [
  "api-key",
  ...COMMON_REFUSED_PARAMETERS,
  "token",
  "key",
  "api_key",
  "apikey",
  "hapikey",
  "method",
];

/** Rules that an operator turns on by their name, because not every deployment wants them. */
export interface Preset {
  /** What its permissions allow, as a noun phrase. */
  readonly title: string;
  /** What it adds to the catalogue: resource → actions. */
  readonly resources: Readonly<Record<string, readonly string[]>>;
  readonly rules: readonly string[];
  /** What it adds to the embedding parameters. */
  readonly embeds?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Those of its rules whose body is a file. */
  readonly fileRules?: readonly string[];
}

/**
 * What an operator says of one operation, for those that choose operations by their descriptions. It decides nothing: which requests may be
 * sent is in the rules alone.
 */
export interface OperationDescription {
  /** What the operation is called after the service's name. */
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  /** The parameters of the query by name, each with its JSON Schema. Others are not offered. */
  readonly query?: Readonly<Record<string, Readonly<Record<string, unknown>>>> | undefined;
  /** The names of the query's parameters without which the operation makes no sense. */
  readonly required?: readonly string[] | undefined;
  /** The JSON Schema of the body. */
  readonly body?: Readonly<Record<string, unknown>> | undefined;
}

/** Everything that the gateway knows about one upstream. It is data only: adding a service adds no code. */
export interface ServiceDefinition {
  readonly name: string;
  /** Origin, and a path prefix where the API has one; no slash at the end. Undefined if every customer has a host of its own. */
  readonly baseUrl?: string | undefined;
  readonly credential: CredentialScheme;
  /** Lines of `METHODS PATH PERMISSION`; see `parseRule`. A request that no line matches is uncovered. */
  readonly rules: readonly string[];
  /** Further rules by the name under which they are turned on. */
  readonly presets?: Readonly<Record<string, Preset>>;
  /**
   * What no rule may match, neither a preset's nor an operator's, as lines of `METHODS PATH`: operations on several resources at once,
   * operations that give out a credential, and those that decide what credentials may do.
   */
  readonly refused?: readonly string[];
  /** What grants may limit, by field: `path.owner`, `query.state`, `body.amount`. At a rule that is not listed, a limited grant allows nothing. */
  readonly limits?: Readonly<Record<string, LimitDefinition>>;
  /**
   * Beginnings of paths, as rules write them, at and below which everything is also at another path, as GitHub's repositories are by number. They
   * are forwarded like the others, and no tool is made of them.
   */
  readonly alternativePaths?: readonly string[];
  /** Descriptions by `METHOD /path`, the path as the rule writes it. */
  readonly operations?: Readonly<Record<string, OperationDescription>>;
  /** The rules whose body is a file: it is streamed, and a type that the upstream would parse is refused. */
  readonly fileRules?: readonly string[];
  /** `/api`: put in front of a path that does not begin with this segment, so that both spellings match the same rules. */
  readonly pathPrefix?: `/${string}` | undefined;
  /**
   * Whether a path may end in a slash: by `strict`, the default, exactly where its rule does; by `optional` anywhere, because this
   * upstream does not tell the two apart. What was sent is forwarded.
   */
  readonly trailingSlash?: "strict" | "optional" | undefined;
  /** Whether this upstream ignores one `.json` at the end of the path. Rules are matched without it; it is fetched with it. */
  readonly jsonSuffix?: boolean | undefined;
  /** Where an agent's token may be beside `Authorization: Bearer`, because this service's clients put theirs there. */
  readonly tokenPlaces?: readonly TokenPlace[];
  /** A sentence for requests without a token. */
  readonly tokenHint?: string;
  /** What happens to the request headers of this upstream's own. The general rules are in `request-headers.ts`. */
  readonly requestHeaders?: HeaderRules;
  /** Headers that are set if the agent does not send them, in lower case. */
  readonly defaultHeaders?: Readonly<Record<string, string>>;
  /** Headers that are always set, in lower case. What the agent sends in their place is dropped. */
  readonly fixedHeaders?: Readonly<Record<string, string>>;
  /** Parameters that are refused in a query, beside the credential's own. `REFUSED_PARAMETERS` if left out. */
  readonly refusedParameters?: readonly string[];
  /**
   * Parameters that are refused in a form, urlencoded or multipart, because upstreams merge forms with the query. `refusedParameters` if
   * left out. If there is any, forms are read whole before they are forwarded, up to `MAX_CHECKED_BODY`.
   */
  readonly refusedFormParameters?: readonly string[];
  /**
   * Query parameters that embed other resources in the answer: parameter (lower case, without `[…]`) → value → the further
   * permissions, written like those of a rule (`customers`, `users:read+tickets:read`), `""` for none. `*` is every value of
   * letters, digits and `_`. Values are split at commas and dots, all occurrences count, and one that is not listed makes the
   * request uncovered.
   */
  readonly embeds?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /**
   * Keys that are refused in a body, in lower case: `token`, or `inputs.associations` below a JSON key (through arrays), or
   * `sorts=associations` if a text in its value contains that word. If there is any, JSON and forms are read whole before they are forwarded, up to `MAX_CHECKED_BODY`.
   */
  readonly refusedBodyParameters?: readonly string[];
  /** The same for keys that do more than the rule's permission allows: a body with one of them needs the service's wildcard. */
  readonly widerBodyParameters?: readonly string[];
  /**
   * Links in JSON answers that lead through the gateway, absolute or from the host's root: JSON pointers (RFC 6901), and names of
   * members at any depth (`url`, `*_url`). See `BodyLinks`.
   */
  readonly bodyLinks?: readonly string[];
  /** The same for clients that ask for it by `X-AgentAuth-Links: rewrite`. By default, the names that APIs usually have. */
  readonly moreBodyLinks?: readonly string[];
  /** Names of links that clients follow with their token. Those to another host are removed, so that it does not get the token. */
  readonly removedLinks?: readonly string[];
  /** Response headers that pass beside those that pass for every upstream, lower case; `stripe-*` is all that begin so. */
  readonly responseHeaders?: readonly string[];
  /** Response headers that agents do not get although a pattern matches them, in lower case. */
  readonly hiddenResponseHeaders?: readonly string[];
}
