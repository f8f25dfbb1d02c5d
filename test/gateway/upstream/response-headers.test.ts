import { describe, expect, it } from "vitest";
import { privateCacheControl } from "../../../src/gateway/upstream/cache-control.ts";
import type { ServiceDefinition } from "../../../src/policy/service-definition.ts";
import { rewriteLinkHeader } from "../../../src/gateway/upstream/link-header.ts";
import { filterResponseHeaders } from "../../../src/gateway/upstream/response-headers.ts";
import { github } from "../../../src/policy/services/github.ts";
import { salesforce } from "../../../src/policy/services/salesforce.ts";
import { stripe } from "../../../src/policy/services/stripe.ts";
import { zendesk } from "../../../src/policy/services/zendesk.ts";

const own: ServiceDefinition = { name: "own", credential: { scheme: "bearer" }, rules: [] };

/** What an agent gets of an upstream's headers. */
function passed(sent: Record<string, string>, definition = own, secrets: string[] = []): Record<string, string> {
  const received = new Headers(sent);
  const headers = new Headers(received);
  filterResponseHeaders(headers, received, definition, secrets, (url) => url);
  return Object.fromEntries(headers);
}
const names = (list: string) => Object.fromEntries(list.split(/\s+/).map((name) => [name.toLowerCase(), "1"]));

describe("a response header", () => {
  it("of a standard family, of the vendor or of the application reaches the agent", () => {
    const sent = names(
      `Content-Type Content-Length Content-Encoding Content-Language Content-Range Content-Disposition Accept-Ranges ETag
       Last-Modified Date Age Retry-After Allow Deprecation Sunset Preference-Applied Author-Id Report-Id Authority X-Total-Count
       X-RateLimit-Limit X-RateLimit-Remaining X-Rate-Limit-Remaining Request-Id Next-Cursor Total-Count OData-Version
       Mcp-Session-Id traceparent X-Kept X-Report-Url X-Origin-Region`,
    );
    expect(passed(sent)).toEqual(sent);
  });

  it("of a browser, a cache, a proxy, one hop or a credential does not", () => {
    const sent = names(
      `CDN-Cache-Control Cloudflare-CDN-Cache-Control Surrogate-Control Surrogate-Key X-Accel-Redirect X-Accel-Buffering X-Sendfile
       X-LiteSpeed-Cache-Control X-Reproxy-URL Expires Pragma Warning Set-Login Set-Cookie Set-Cookie2 Secure-Session-Registration
       Secure-Session-Id Secure-Session-Skip Sec-Session-Registration Origin-Trial Activate-Storage-Access No-Vary-Search Use-As-Dictionary
       Access-Control-Allow-Origin Cross-Origin-Opener-Policy Permissions-Policy Document-Policy Referrer-Policy Clear-Site-Data
       Strict-Transport-Security Public-Key-Pins Expect-CT NEL Report-To Reporting-Endpoints Service-Worker-Allowed SourceMap
       X-SourceMap Refresh Speculation-Rules Accept-CH Critical-CH Alt-Svc Timing-Allow-Origin Server-Timing Integrity-Policy
       X-Frame-Options X-XSS-Protection X-DNS-Prefetch-Control X-Permitted-Cross-Domain-Policies X-UA-Compatible
       Content-Security-Policy-Report-Only X-Content-Security-Policy X-WebKit-CSP Feature-Policy Attribution-Reporting-Register-Source
       WWW-Authenticate Authentication-Info Proxy-Authenticate X-OAuth-Scopes X-Accepted-OAuth-Scopes X-OAuth-Client-Id
       GitHub-Authentication-Token-Expiration X-Auth-Token X-Subject-Token X-CSRF-Token X-Session-Id Connection Keep-Alive
       Transfer-Encoding Trailer TE Upgrade Via Forwarded X-Forwarded-For X-Original-URL X-Http-Method-Override
       X-AgentAuth-Upstream X-Upstream-Request-Id P3P Server Brand-New-Browser-Header`,
    );
    for (const definition of [own, github, zendesk, salesforce, stripe]) expect(passed(sent, definition)).toEqual({});
  });

  it("that the gateway has itself is distinguished from the gateway's own", () => {
    expect(
      passed({ ratelimit: "a", "ratelimit-policy": "b", "ratelimit-remaining": "7", "x-request-id": "up-1" }),
    ).toEqual({
      "x-upstream-ratelimit": "a",
      "x-upstream-ratelimit-policy": "b",
      "x-upstream-ratelimit-remaining": "7",
      "x-upstream-request-id": "up-1",
    });
  });

  it("of a vendor's own family passes for that vendor", () => {
    const sent = names(
      "Sforce-Limit-Info Stripe-Should-Retry Original-Request Zendesk-RateLimit-Tickets X-GitHub-Media-Type",
    );
    expect(Object.keys(passed(sent, salesforce))).toEqual(["sforce-limit-info", "x-github-media-type"]);
    expect(Object.keys(passed(sent, stripe))).toEqual([
      "original-request",
      "stripe-should-retry",
      "x-github-media-type",
    ]);
    expect(Object.keys(passed(sent, zendesk))).toEqual(["x-github-media-type", "zendesk-ratelimit-tickets"]);
    expect(
      passed({ "x-github-sso": "required; url=https://github.com/orgs/o/sso?authorization_request=A" }, github),
    ).toEqual({});
  });

  it("of an own upstream passes where its settings name it, but for those that no agent gets", () => {
    const definition = { ...own, responseHeaders: ["hal-docs", "acme-*"] };
    const sent = names("HAL-Docs HAL-Docs-More Acme-Region Acme-Session-Token");
    expect(Object.keys(passed(sent, definition))).toEqual(["acme-region", "hal-docs"]);
    expect(passed(sent)).toEqual({});
  });

  it("that Connection names, or that holds the credential, does not pass, renamed or not", () => {
    expect(passed({ connection: "close, X-Hop", "x-hop": "1", "x-kept": "1" })).toEqual({ "x-kept": "1" });
    const sent = { "x-request-id": "the-secret-of-it", "x-a": "Bearer the-secret-of-it", etag: '"1"' };
    expect(passed(sent, own, ["the-secret-of-it"])).toEqual({ etag: '"1"' });
  });

  it("whose name holds the credential does not pass, also after others of the same upstream that hold none", () => {
    const secrets = ["the-Secret-of-it"];
    const harmless = { "x-harmless-one": "1" };
    const sent = { ...harmless, "x-the-secret-of-it": "1" };
    for (const [given, expected] of [
      [harmless, harmless],
      [sent, harmless],
      [harmless, harmless],
    ] as const) {
      expect(passed(given, own, secrets)).toEqual(expected);
    }
    // Names that were harmless are not with another credential.
    expect(passed(harmless, own, ["x-harmless-one"])).toEqual({});
  });
});

describe("Cache-Control", () => {
  it.each([
    [null, "private, no-cache"],
    ["", "private, no-cache"],
    ["public, max-age=60", "private, max-age=60"],
    ["s-maxage =600", "private"],
    ["s-maxage\t= 600, Max-Age = 60 ,", "private, max-age=60"],
    ['S-MaxAge="600", max-age="60"', "private, max-age=60"],
    ['private="set-cookie, x", no-cache="set-cookie"', "private, no-cache"],
    ['x="public, s-maxage=600", no-store', "private, no-store"],
    ['x="a\\", max-age=600", max-age=5', "private, max-age=5"],
    ["proxy-revalidate, must-revalidate, immutable", "private, must-revalidate, immutable"],
    [
      "stale-while-revalidate=30, stale-if-error=60, no-transform",
      "private, stale-while-revalidate=30, stale-if-error=60, no-transform",
    ],
    ["max-age=-1", "private, max-age=0"],
    ["max-age", "private, max-age=0"],
    ["surrogate-control, edge-max-age=9, no-vary", "private"],
    ['x="unclosed, max-age=600', "private, no-store"],
    ["max-age=60; public", "private, no-store"],
    ["max age=60", "private, no-store"],
  ])("%j is %j", (value, expected) => {
    expect(privateCacheControl(value)).toBe(expected);
  });

  it("is read in linear time", () => {
    // With the square of its length it would take many minutes.
    expect(privateCacheControl(`a${" ".repeat(1_000_000)}x`)).toBe("private, no-store");
  });
});

describe("Link", () => {
  const rewrite = (value: string) =>
    rewriteLinkHeader(value, (url) => (url.includes("gateway") ? undefined : url.replace("https://up", "https://gw")));

  it.each([
    [
      '<https://up/a?page=2>; rel="next", <https://up/a>; rel=first',
      '<https://gw/a?page=2>; rel="next", <https://gw/a>; rel="first"',
    ],
    [
      '<https://up/a,b;c>; rel="next"; results="true"; cursor="0:1\\"0"',
      '<https://gw/a,b;c>; rel="next"; results="true"; cursor="0:1\\"0"',
    ],
    [
      " <https://up/a> ;REL = \"prev self\" ; title*=UTF-8''x , ",
      '<https://gw/a>; rel="prev self"; title*="UTF-8\'\'x"',
    ],
    ['<http://www.w3.org/ns/ldp#Resource>; rel="type"', '<http://www.w3.org/ns/ldp#Resource>; rel="type"'],
    ['<https://up/r>; rel="https://api.example/rels/orders"', '<https://gw/r>; rel="https://api.example/rels/orders"'],
    ['<https://gateway/agents>; rel="next", <https://up/b>; rel="last"', '<https://gw/b>; rel="last"'],
    ['<https://up/a>; rel="alternate"; flag', '<https://gw/a>; rel="alternate"; flag'],
  ])("%s is %s", (value, expected) => {
    expect(rewrite(value)).toBe(expected);
  });

  it.each([
    ...[
      "serviceworker",
      "preload",
      "prefetch",
      "modulepreload",
      "preconnect",
      "dns-prefetch",
      "manifest",
      "stylesheet",
    ].map((rel) => `<https://up/a>; rel="${rel}"`),
    '<https://up/a>; rel="next serviceworker"',
    '<https://up/a>; rel="alternate stylesheet"',
    '<https://up/a>; rel="ServiceWorker"',
    "<https://up/a>; rel=next; rel=serviceworker",
    '<https://up/a>; rel="next"; anchor="https://other/"',
    "<https://up/a>",
    '<https://up/a>; rel=""',
    '<https://up/a>; rel="next',
    '<https://up/a>; rel="next" <https://up/b>',
    '<https://up/<b>>; rel="next"',
    'https://up/a; rel="next"',
    '<https://up/a; rel="next"',
    "",
  ])("%s is none", (value) => {
    expect(rewrite(value)).toBeUndefined();
  });
});
