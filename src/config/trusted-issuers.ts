import * as z from "zod/mini";
import { isLoopbackUrl } from "../validation/loopback.ts";
import { once } from "../validation/once.ts";

/** A claim's value, or for a claim that is an object the values of its members. */
export type ClaimValue = string | number | boolean | RequiredClaims;
export interface RequiredClaims {
  readonly [claim: string]: ClaimValue;
}

/** Who may have the tokens of an agent: whoever has a token with these claims. */
interface TrustRule {
  readonly agentId: string;
  readonly claims: RequiredClaims;
}

/** An issuer whose tokens are exchanged for those of an agent (RFC 7523 §2.1). */
export interface TrustedIssuer {
  readonly issuer: string;
  /** The `aud` of its tokens for this deployment, and for nobody else. */
  readonly audience: string;
  /** Where its keys are. Null: where its metadata says (OpenID Connect Discovery 1.0 §4). */
  readonly jwksUri: string | null;
  /** How long its tokens may live, in seconds. */
  readonly maxTokenLife: number;
  /** How long it may take to answer, in milliseconds. */
  readonly timeoutMs: number;
  readonly rules: readonly TrustRule[];
}

const MAX_RULES = 200;

/**
 * For well-known issuers, the claims that name what they name for ever. A repository, a project or a service account can be renamed or
 * deleted, and somebody else then gets its name.
 */
const ID_CLAIMS: readonly { readonly host: RegExp; readonly claims: readonly string[] }[] = [
  // https://docs.github.com/en/actions/reference/security/oidc
  { host: /^token\.actions\.githubusercontent\.com$/, claims: ["repository_id", "repository_owner_id"] },
  // https://docs.gitlab.com/ci/secrets/id_token_authentication/
  { host: /^gitlab\.com$/, claims: ["project_id", "namespace_id"] },
  // https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference
  { host: /^(?:login\.microsoftonline\.com|sts\.windows\.net)$/, claims: ["oid", "sub"] },
];

/** The id of a service account (https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/). */
const KUBERNETES_ID = "kubernetes.io/serviceaccount/uid";
const KUBERNETES_HOSTS =
  /^(?:oidc\.eks\.[\w-]+\.amazonaws\.com(?:\.cn)?|container\.googleapis\.com|[\w.-]+\.oic\.prod-aks\.azure\.com|kubernetes\.default\.svc(?:\..*)?)$/;

/** Everywhere else: OpenID Connect Core 1.0 §2 says of `sub` that it is never reassigned. */
const OTHERS = ["sub"];

function idClaimsOf(issuer: string, claims: RequiredClaims): readonly string[] {
  const host = URL.parse(issuer)?.hostname ?? "";
  const ofServiceAccount = String(claims.sub).startsWith("system:serviceaccount:") || "kubernetes.io" in claims;
  if (ofServiceAccount || KUBERNETES_HOSTS.test(host)) return [KUBERNETES_ID];
  return ID_CLAIMS.find((known) => known.host.test(host))?.claims ?? OTHERS;
}

/** Whether claims name one at a path of names with slashes between. */
function hasClaim(claims: RequiredClaims, path: string): boolean {
  let value: ClaimValue | undefined = claims;
  for (const name of path.split("/")) {
    if (typeof value !== "object" || !Object.hasOwn(value, name)) return false;
    value = value[name];
  }
  return typeof value !== "object";
}

/** Audiences that tokens have for others as well, or by default. */
const SHARED_AUDIENCES: ReadonlySet<string> = new Set(["sts.amazonaws.com", "api://AzureADTokenExchange"]);
const isShared = (audience: string): boolean =>
  SHARED_AUDIENCES.has(audience) || /^https:\/\/(?:github\.com\/[^/]*$|kubernetes\.default\.svc)/.test(audience);

const isSecureUrl = (text: string): boolean => {
  const url = URL.parse(text);
  if (!url || url.username || url.password || url.hash) return false;
  return url.protocol === "https:" || isLoopbackUrl(text);
};

const claimValue: () => z.ZodMiniType<ClaimValue> = once(() =>
  z.lazy(() =>
    z.union([z.string().check(z.minLength(1)), z.int(), z.boolean(), requiredClaims()], {
      error: "must be a text, a whole number, true or false, or a table of claims: claims are compared by equality",
    }),
  ),
);
const requiredClaims = once(() =>
  z
    .record(z.string().check(z.minLength(1)), claimValue())
    .check(z.refine((claims) => Object.keys(claims).length > 0, { error: "must name a claim" })),
);

const URL_FAULT = "must be an https URL without user, password and fragment; http is accepted for this machine only";

const trustedIssuer = once(() =>
  z
    .strictObject({
      issuer: z.string().check(
        z.maxLength(200),
        z.refine((text) => isSecureUrl(text) && !text.includes("?"), { error: `${URL_FAULT}, as the tokens have it` }),
      ),
      audience: z.string().check(
        z.minLength(1),
        z.maxLength(255),
        z.refine((text) => !isShared(text), {
          error: "is one that tokens have for others too: name this deployment, and have the token made for it",
        }),
      ),
      jwks_uri: z.optional(z.string().check(z.refine(isSecureUrl, { error: URL_FAULT }))),
      id_claims: z.optional(z.array(z.string().check(z.minLength(1))).check(z.minLength(1))),
      max_token_life_seconds: z._default(z.int().check(z.minimum(60), z.maximum(86_400)), 3600),
      timeout_ms: z._default(z.int().check(z.minimum(100), z.maximum(10_000)), 5000),
      rules: z
        .array(
          z.strictObject({
            agent: z
              .string()
              .check(z.regex(/^agt_\w{24,120}$/, { error: "must be the id of an agent, which begins with agt_" })),
            claims: requiredClaims(),
          }),
        )
        .check(z.minLength(1), z.maxLength(MAX_RULES)),
    })
    .check((context) => {
      const { issuer, audience, id_claims: own, rules } = context.value;
      if (audience === issuer) {
        const message = "is the issuer's own URL, which its tokens have for itself: name this deployment";
        context.issues.push({ code: "custom", path: ["audience"], message, input: audience });
      }
      for (const [index, { claims }] of rules.entries()) {
        const ids = own ?? idClaimsOf(issuer, claims);
        if (ids.some((path) => hasClaim(claims, path))) continue;
        const message = `names nothing by an id that stays its own: add ${ids.join(" or ")}. Names can be given to somebody else. Which claims of this issuer are ids, id_claims says`;
        context.issues.push({ code: "custom", path: ["rules", index, "claims"], message, input: claims });
      }
    }),
);

/** The setting `TRUSTED_ISSUERS`, as `[[vars.TRUSTED_ISSUERS]]` of wrangler.toml has it. */
export const trustedIssuers = once(() =>
  z.pipe(
    z.array(trustedIssuer()).check(
      z.maxLength(20),
      z.refine((list) => new Set(list.map(({ issuer }) => issuer)).size === list.length, {
        error: "names an issuer twice: put its rules together",
      }),
    ),
    z.transform((list): readonly TrustedIssuer[] =>
      list.map(
        ({
          issuer,
          audience,
          jwks_uri: jwksUri = null,
          max_token_life_seconds: maxTokenLife,
          timeout_ms: timeoutMs,
          rules,
        }) => ({
          issuer,
          audience,
          jwksUri,
          maxTokenLife,
          timeoutMs,
          rules: rules.map(({ agent, claims }) => ({ agentId: agent, claims })),
        }),
      ),
    ),
  ),
);
