import { describe, expect, it } from "vitest";
import { explain } from "../../src/policy/explain.ts";
import { BUILT_IN_SERVICES, loadServices } from "../../src/policy/services.ts";
import { overlaps } from "../../src/policy/rule-table.ts";
import { BUILT_IN_CATALOGUE, listService } from "../../src/permissions/catalogue.ts";

const { services, catalogue, faults } = loadServices(new Map(), BUILT_IN_CATALOGUE);

/** What a request is taken for: its permissions, `uncovered`, or the code of its refusal. */
function taken(service: string, request: string): string {
  const [method = "", path = ""] = request.split(" ");
  const { explanation } = explain({ services, catalogue }, { service, method, path });
  if (explanation.decision === "refuse") return explanation.code;
  return explanation.required === null ? "uncovered" : explanation.all_required.join("+");
}

const CASES: Record<string, Record<string, string>> = {
  zendesk: {
    "GET /api/v2/tickets": "zendesk:tickets:read",
    "GET /api/v2/tickets.json": "zendesk:tickets:read",
    "GET /api/v2/tickets.json.json": "uncovered",
    "GET /api/v2/tickets/": "zendesk:tickets:read",
    "GET /api/v2/tickets.json/": "zendesk:tickets:read",
    "GET /api/v2/tickets//": "empty_segment",
    "GET /api/v2/tickets/1.json": "zendesk:tickets:read",
    "PUT /api/v2/tickets/update_many.json?ids=1,2": "zendesk:tickets:write",
    "GET /api/v2/Tickets": "uncovered",
    "GET /tickets": "uncovered",
    "GET /api/v2/ticket_fields": "uncovered",
    "GET /api/v2/incremental/tickets/sample": "zendesk:tickets:read",
    "GET /api/v2/incremental/organizations/sample": "uncovered",
    "GET /api/v2/users/1/tickets/requested": "zendesk:tickets:read",
    "GET /api/v2/organizations/1/users": "zendesk:users:read",
    "GET /api/v2/tickets?include=users": "zendesk:tickets:read+zendesk:users:read",
    "GET /api/v2/tickets?include=users,organizations": "uncovered",
    "GET /api/v2/tickets?include=&Include%5B%5D=groups": "uncovered",
    "GET /api/v2/tickets?include[0=groups": "bad_query",
    "GET /api/v2/tickets?[include]=groups": "bad_query",
    "GET /api/v2/search?query=type:ticket": "uncovered",
    "GET /api/v2/users/me/session/renew": "uncovered",
    "POST /api/v2/users/1/password": "uncovered",
    "POST /api/v2/users/1/identities": "uncovered",
    "PUT /api/v2/tickets/1/mark_as_spam": "zendesk:tickets:write+zendesk:users:write",
    "POST /api/v2/problems/autocomplete": "zendesk:tickets:read",
    "POST /api/v2/oauth/tokens": "uncovered",
    "GET /api/v2/tickets/1;a=b": "path_parameter",
  },
  slack: {
    "POST /api/chat.postMessage": "slack:messages:write",
    "GET /api/chat.postMessage?channel=C1&text=x": "slack:messages:write",
    "POST /chat.postMessage": "slack:messages:write",
    "POST /api/conversations.history": "slack:messages:read",
    "GET /conversations.list": "slack:channels:read",
    "POST /api/conversations.archive": "slack:channels:write",
    "GET /conversations.list?token=xoxb-1": "parameter_refused",
    "POST /api/conversations.inviteShared": "uncovered",
    "POST /api/Chat.postMessage": "uncovered",
    "POST /api/chat.postMessage/": "uncovered",
    "POST /api/chat.postMessage//": "empty_segment",
    "POST /api/api/chat.postMessage": "uncovered",
    "POST /api/admin.conversations.delete": "uncovered",
    "GET /api/apps.uninstall": "uncovered",
    "GET /api/rtm.connect": "uncovered",
    "PUT /api/chat.postMessage": "uncovered",
  },
  hubspot: {
    "GET /crm/v3/objects/contacts/1": "hubspot:contacts:read",
    "GET /crm/v3/objects/0-1/1": "hubspot:contacts:read",
    "GET /crm/objects/2026-03/deals": "hubspot:deals:read",
    "GET /crm/objects/2026-03-beta/0-3": "hubspot:deals:read",
    "GET /crm/objects/v3/companies": "hubspot:companies:read",
    "PATCH /crm/v3/objects/companies/1": "uncovered",
    "PATCH /crm/v3/objects/0-2/1": "uncovered",
    "GET /crm/v3/objects/Contacts": "uncovered",
    "GET /crm/v3/objects/tickets": "uncovered",
    "POST /crm/v3/objects/contacts/search": "hubspot:contacts:read",
    "POST /crm/v3/objects/contacts/batch/read": "hubspot:contacts:read",
    "POST /crm/v3/objects/contacts/batch/archive": "hubspot:contacts:write",
    "POST /crm/v3/objects/contacts/merge": "hubspot:contacts:write",
    "POST /crm/v3/objects/deals/batch/search": "uncovered",
    "GET /crm/v3/objects/contacts?associations=companies": "hubspot:contacts:read+hubspot:companies:read",
    "GET /crm/v3/objects/contacts?associations=tickets": "uncovered",
    "GET /crm/v3/objects/contacts?associations[0=tickets": "bad_query",
    "GET /crm/v3/objects/contacts?associations.0=tickets": "bad_query",
    "GET /crm/v4/objects/contacts/1/associations/deals": "hubspot:contacts:read+hubspot:deals:read",
    "GET /crm/v4/objects/contacts/1/associations/contacts": "hubspot:contacts:read",
    "PUT /crm/v4/objects/contacts/1/associations/deals/2": "hubspot:contacts:write+hubspot:deals:write",
    "DELETE /crm/objects/v4/0-3/1/associations/0-1/2": "hubspot:deals:write+hubspot:contacts:write",
    "PUT /crm/v4/objects/contacts/1/associations/default/contacts/2": "hubspot:contacts:write",
    "POST /crm/v4/associations/deals/contacts/batch/create": "hubspot:deals:write+hubspot:contacts:write",
    "POST /crm/v4/associations/companies/contacts/batch/read": "hubspot:companies:read+hubspot:contacts:read",
    "POST /crm/v4/associations/companies/contacts/batch/create": "uncovered",
    "PUT /crm/v4/objects/contacts/1/associations/companies/2": "uncovered",
    "PUT /crm/v4/objects/contacts/1/associations/tickets/2": "uncovered",
    "POST /crm/v4/associations/contacts/deals/labels": "uncovered",
    "POST /crm/v3/objects/deals/splits/batch/read": "uncovered",
    "GET /crm/v3/properties/contacts": "uncovered",
    "GET /crm/v3/objects/contacts?hapikey=1": "parameter_refused",
  },
  github: {
    "GET /repos/o/r": "github:repos:read",
    "GET /repos/issues/pulls": "github:repos:read",
    "PUT /repos/o/r/contents/docs/x.md": "github:repos:write",
    "GET /repos/o/r/issues/5": "github:issues:read",
    "POST /repos/o/r/issues/5/comments": "github:issues:write",
    "GET /repos/o/r/pulls/7": "github:pull_requests:read",
    "GET /repositories/12/issues?page=2": "github:issues:read",
    "POST /repos/o/r/pulls/7/codespaces": "uncovered",
    "GET /repos/o/r/actions/secrets": "uncovered",
    "GET /repos/o/r/secret-scanning/alerts": "uncovered",
    "GET /repos/o/r/keys": "uncovered",
    "GET /repos/o/r/contents/issues/x": "github:repos:read",
    "GET /repos/o/r/contents/a%2Fb": "github:repos:read",
    "GET /repos/o/r/contents/a%2F..%2Fb": "dot_segment",
    "GET /repos/o/r/contents/": "github:repos:read",
    "GET /repos/o/r/contents/docs/": "github:repos:read",
    "DELETE /repos/o/r/contents/docs/": "uncovered",
    "GET /repos/o/r/contents/%2Fetc": "encoded_slash",
    "GET /repos/o/r/issues/": "uncovered",
    "GET /repos/o/r/labels/%2F": "github:issues:read",
    "GET /repos/o/r/labels/%2Fx": "github:issues:read",
    "GET /repos/o/r/labels/%2f%2Fx": "empty_segment",
    "GET /repos/o/r/labels/x%2F": "empty_segment",
    "GET /repos/o/r/labels/%2F..": "dot_segment",
    "GET /repos/o/r/labels/%2F%3Fx": "github:issues:read",
    "DELETE /repos/o/r/labels/%2Fx": "github:issues:write",
    // Merged, these are `DELETE /labels`, `GET /compare` and the protection of a branch: uncovered, all three.
    "DELETE /repos/o/r/labels/%2F": "encoded_slash",
    "GET /repos/o/r/compare/%2F": "encoded_slash",
    "GET /repos/o/r/branches/%2Fprotection": "encoded_slash",
    "GET /repos/o/r/branches/%2Fmain%2Fprotection": "encoded_slash",
    "GET /repos/o/r/labels/good%3Afirst%28a%29": "github:issues:read",
    "GET /repos/o%2Fr/issues": "encoded_slash",
    "GET /repos/o/r/branches/feature%2Fx": "github:repos:read",
    "GET /repos/o/r/branches/protection": "github:repos:read",
    "GET /repos/o/r/branches/main%2Fprotection": "encoded_slash",
    "GET /repos/o/r/branches/main%2fprotection%2frestrictions": "encoded_slash",
    "GET /repos/o/r/commits/main%2Fcheck-runs": "encoded_slash",
    "GET /repos/o/r/commits/abc%2Fpulls": "encoded_slash",
    "GET /repos/o/r/commits/main%2FStatus": "encoded_slash",
    "GET /repos/o/r/commits/main%2fSTATUS.json": "encoded_slash",
    "GET /repos/o/r/branches/main%2FProtection": "encoded_slash",
    "GET /repos/o/r/commits/main%2F%C5%BFtatus": "encoded_slash",
    "GET /repos/o/r/branches/main%2F%EF%BD%90rotection": "encoded_slash",
    "GET /repos/o/r/branches/main%2Fprotection%3Fx": "encoded_slash",
    "GET /repos/o/r/commits/main%2Fstatus%23x": "encoded_slash",
    "GET /repos/o/r/commits/main%2Fstatus.json%3F": "encoded_slash",
    "GET /repos/o/r/branches/feature%2Fwhy%3F": "github:repos:read",
    "GET /repos/o/r%3F/issues": "github:issues:read+github:repos:read",
    "GET /repos/o/r%23x/issues": "github:issues:read+github:repos:read",
    "GET /repos/o%3Fx/r/issues": "uncovered",
    "GET /repos/o/r/labels/why%3F": "github:issues:read",
    "GET /repos/o/r/commits/main%2Fstatus-page": "github:repos:read",
    "GET /repos/o/r/commits/status": "github:repos:read",
    "GET /repos/o/r/issues/..%23": "dot_segment",
    "GET /repos/o/r/contents/a/..%3F": "dot_segment",
    "GET /repos/o/r/contents/a%2F..%3Fx%2Fb": "dot_segment",
    "GET /repos/o/r/contents/.%23emacs": "dot_segment",
    "GET /repos/o/r/contents/a%23..": "trailing_dot_or_space",
    "GET /repos/o/r/contents/..%C2%A0/x": "trailing_dot_or_space",
    "GET /repos/o/r/contents/a%E3%80%80": "trailing_dot_or_space",
    "GET /repos/o/r/contents/c%23/why%3F/.gitignore": "github:repos:read",
    "GET /repos/o/r/contents/%EF%BC%8E%EF%BC%8E/x": "lookalike_character",
    "GET /repos/o/r/contents/a%EF%BC%8F..%EF%BC%8Fb": "lookalike_character",
    "GET /repos/o/r/contents/a%EF%BC%BCb": "lookalike_character",
    "GET /repos/o/r/contents/%E2%80%A4%E2%80%A4": "lookalike_character",
    "GET /repos/o/r/contents/a%E2%88%95b": "lookalike_character",
    "GET /repos/o/r/contents/%EF%B8%B0/x": "lookalike_character",
    "GET /repos/o/r/contents/x%E2%84%80b": "lookalike_character",
    "GET /repos/o/r/contents/x%CD%BEb": "lookalike_character",
    "GET /repos/o/r/contents/a%E2%81%84b": "lookalike_character",
    "GET /repos/o/r/contents/%EF%BC%852e%EF%BC%852e": "lookalike_character",
    "GET /repos/o/r/contents/%E8%B3%AA%E5%95%8F%EF%BC%9F%E2%80%A6": "github:repos:read",
    "POST /graphql": "uncovered",
    "GET /search/issues?q=x": "uncovered",
    "PUT /repos/o/r/pulls/1/merge": "uncovered",
    "OPTIONS /repos/o/r": "method_not_allowed",
    "patch /repos/o/r": "method_not_allowed",
  },
  salesforce: {
    "GET /services/data/v61.0/sobjects/Account/001000000000001": "salesforce:accounts:read",
    "POST /services/data/v61.0/sobjects/Account": "salesforce:accounts:write",
    "GET /services/data/v61.0/sobjects/Lead/00Q000000000001AAA": "salesforce:leads:read",
    "PATCH /services/data/v61.0/sobjects/Lead/00Q000000000001AAA": "salesforce:leads:write",
    "POST /services/data/v61.0/sobjects/Account/": "salesforce:accounts:write",
    "GET /services/data/v61.0/sobjects/Account/describe/": "salesforce:accounts:read",
    "GET /services/data/v61.0/query/?q=SELECT+Id+FROM+Account": "uncovered",
    "GET /services/data/v61.0/sobjects/Account/approvalLayouts": "uncovered",
    "GET /services/data/v61.0/sobjects/Lead/compactLayouts0": "uncovered",
    "GET /services/data/v61.0/sobjects/account/001000000000001": "uncovered",
    "GET /services/data/v61.0/sobjects/Account/001000000000001AAA/Owner": "uncovered",
    "GET /services/data/v61.0/sobjects/Account/Key__c/7": "salesforce:accounts:read",
    "GET /services/data/v61.0/sobjects/Account/Name/7": "uncovered",
    "GET /services/data/v61.0/query?q=SELECT+Id+FROM+Account": "uncovered",
    "GET /services/data/v61.0/tooling/executeAnonymous?anonymousBody=x": "uncovered",
    "POST /services/data/v61.0/composite": "uncovered",
    "POST /services/data/v61.0/sobjects/Account?_HttpMethod=PATCH": "parameter_refused",
    "GET /services/data/61.0/sobjects/Account": "uncovered",
    "GET /services/data/v61.0/sobjects/Account/describe": "salesforce:accounts:read",
    "GET /services/data/v61.0/sobjects/Account/updated?start=x": "uncovered",
    "GET /services/data/v61.0/sobjects/Account/001000000000001?fields=Name,Key__c": "salesforce:accounts:read",
    "GET /services/data/v61.0/sobjects/Account/001000000000001?fields=Name,Owner.Email": "uncovered",
    "GET /services/data/v61.0/sobjects/Account/001000000000001?Fields=Owner%2EEmail": "uncovered",
    "GET /services/data/v61.0/sobjects/Account/001000000000001?fields=Name&fields=(SELECT+Id)": "uncovered",
    "POST /services/oauth2/token": "uncovered",
  },
  stripe: {
    "GET /v1/charges/ch_1%3Fexpand[]=customer": "stripe:payments:read+stripe:customers:read",
    "GET /v1/charges/ch_1%3fa=1%26expand%255B0%255D=customer": "double_encoding",
    "GET /v1/charges/ch_1%3Fa=1%26expand[0=customer": "bad_query",
    "GET /v1/charges/ch_1%3Faccess_token=1?limit=1": "parameter_refused",
    "GET /v1/charges?access-token=1": "parameter_refused",
    "GET /v1/charges?Api-Key=1": "parameter_refused",
    "GET /v1/charges/why%3F100%25?limit=1": "stripe:payments:read",
    "GET /v1/customers/cus_1": "stripe:customers:read",
    "GET /v1/customers/search?query=x": "stripe:customers:read",
    "POST /v1/customers/cus_1": "uncovered",
    "GET /v1/charges/ch_1/refunds": "uncovered",
    "GET /v1/payment_intents": "stripe:payments:read",
    "GET /v1/invoiceitems": "uncovered",
    "GET /v1/invoices/in_1/lines": "stripe:invoices:read",
    "GET /v1/charges?expand[]=data.customer": "stripe:payments:read+stripe:customers:read",
    "GET /v1/charges?expand%5B%5D=data.customer.default_source": "uncovered",
    "GET /v1/charges?expand[0]=data.invoice&expand[1]=data.refunds": "uncovered",
    "GET /v1/charges?expand=data.customer&Expand[12]=data.invoice":
      "stripe:payments:read+stripe:customers:read+stripe:invoices:read",
    ...Object.fromEntries(
      [
        "expand[0=data.customer",
        "expand%5B0=data.customer",
        "expand[[0=data.customer",
        "expand[0%20=data.customer",
        "expand[0]x=data.customer",
        "expand[x]=data.customer",
        "expand]=data.customer",
        "]expand=data.customer",
        "[expand]=data.customer",
        "[]expand=data.customer",
        "+expand=data.customer",
        "expand%20=data.customer",
        "expand.0=data.customer",
        "expand%00=data.customer",
        "!expand=data.customer",
        "%EF%BD%85xpand=data.customer",
        "a=1;expand[0=data.customer",
        "expand[0];=data.customer",
        "expand%5B0%5D;=data.customer",
        "expand;=data.customer",
        "expand[];a=data.customer",
      ].map((query) => [`GET /v1/charges?${query}`, "bad_query"]),
    ),
    "GET /v1/charges?expanded=data.customer&limit[expand]=1": "stripe:payments:read",
    "GET /v1/charges?_stripe_version=2020-01-01": "parameter_refused",
    "GET /v1/charges?_Stripe.Version=2020-01-01": "parameter_refused",
    "GET /v1/charges?key=sk_1": "parameter_refused",
    "GET /v1/charges?_stripe_account=acct_1": "parameter_refused",
    "GET /v1/events": "uncovered",
  },
};

describe("the built-in services", () => {
  it("are those of the catalogue, and none of their rules meets another with other permissions", () => {
    expect(faults).toEqual([]);
    expect(BUILT_IN_SERVICES.map(({ name }) => name)).toEqual(Object.keys(BUILT_IN_CATALOGUE));
    for (const { name } of BUILT_IN_SERVICES) {
      const meeting = overlaps(services.get(name)!.table().rules);
      expect(meeting.map(([one, other]) => `${one.source} and ${other.source}`)).toEqual([]);
    }
  });
});

describe("the faults of an operator's service", () => {
  const own = { base_url: "https://api.example.com", resources: { things: ["read"] }, rules: ["GET /things things"] };
  const faultsOf = (settings: object, name = "orders") =>
    loadServices(new Map([[name, settings]]), BUILT_IN_CATALOGUE, "https://auth.example.com").faults.map(
      ({ path, message }) => `${path.join(".")} ${message}`,
    );
  const header = { scheme: "header", name: "X-Key" };
  const headers = { scheme: "headers", headers: { "X-Key": "KEY" } };

  it.each<[string, object, RegExp[]]>([
    ["none", own, []],
    [
      "none of a header of its own",
      { ...own, headers: { "X-One": "1" }, request_headers: ["X-Two"], credential: header },
      [],
    ],
    [
      "the gateway itself",
      { ...own, base_url: "https://auth.example.com/api" },
      [/^base_url is the gateway's own origin/],
    ],
    ["presets", { ...own, presets: ["git"] }, [/^presets are for the built-in services/]],
    ["no rules", { ...own, rules: undefined }, [/^ base_url, resources and rules are all needed/]],
    ["no resources", { ...own, resources: undefined }, [/^ base_url, resources and rules are all needed/]],
    ["no base_url", { ...own, base_url: undefined }, [/^ base_url, resources and rules are all needed/]],
    [
      "a fixed header in the credential's place",
      { ...own, headers: { "x-key": "1" }, credential: header },
      [/^headers\.x-key the credential/],
    ],
    [
      "an agent's header in its place",
      { ...own, request_headers: ["x-one", "x-KEY"], credential: headers },
      [/^request_headers\.1 the credential/],
    ],
    [
      "a header of both",
      { ...own, headers: { "X-One": "1" }, request_headers: ["x-one"] },
      [/^request_headers\.0 headers sets x-one/],
    ],
    [
      "a token's header that is sent on",
      { ...own, agent_token: { header: "X-One" }, request_headers: ["x-one"] },
      [/^agent_token\.header agents send/],
    ],
    [
      "a token's header that is set",
      { ...own, agent_token: { header: "X-One" }, headers: { "x-one": "1" } },
      [/^agent_token\.header agents send/],
    ],
    [
      "an operation of no rule",
      { ...own, operations: { "GET /other": {} } },
      [/^operations\.GET \/other is of no rule/],
    ],
    [
      "operations with one name, and a parameter that is none",
      {
        ...own,
        rules: ["GET,POST /things things:read"],
        operations: {
          "GET /things": { name: "x" },
          "POST /things": { name: "x", query: { a: {} }, required: ["a", "b"] },
        },
      },
      [
        /^operations\.POST \/things\.required\.1 is not a parameter/,
        /^operations\.POST \/things\.name is the name of GET \/things too/,
      ],
    ],
    [
      "limits of a field that no rule has",
      { ...own, limits: { "path.id": { alone: ["GET /things things"] } } },
      [/^limits\.path\.id/],
    ],
  ])("%s", (_, settings, expected) => {
    const found = faultsOf(settings);
    expect(found).toHaveLength(expected.length);
    expected.forEach((one, at) => expect(found[at]).toMatch(one));
  });

  it("are its name, if AgentAuth or the secrets of another service have it", () => {
    expect(faultsOf(own, "agentauth")).toEqual([" is the name of AgentAuth's own permissions. Rename it."]);
    const two = new Map([
      ["my-orders", own],
      ["my_orders", own],
    ]);
    expect(loadServices(two, BUILT_IN_CATALOGUE).faults).toMatchObject([{ upstream: "my_orders", path: [] }]);
  });

  it("are what it says of a built-in service that the service says itself", () => {
    const line = services.get("github")!.definition.rules.find((one) => one.includes("/repos/{owner}/{repo}/issues"))!;
    const rule = "GET /repos/{owner}/{repo}/more issues";
    const limits = (field: string, definition: object) =>
      faultsOf({ rules: [rule], limits: { [field]: definition } }, "github");
    expect(limits("path.repo", { alone: [rule] })).toEqual([]);
    expect(limits("path.repo", { alone: [rule], ignoresCase: true })).toEqual([
      "limits.path.repo is a field of github itself: only alone and also can be added to it.",
    ]);
    expect(limits("path.repo", { alone: [line] })).toEqual([expect.stringContaining("is a rule of github itself")]);
    expect(limits("path.repo", { also: { [line]: [] } })).toContainEqual(
      expect.stringContaining("is a rule of github itself"),
    );
    expect(faultsOf({ headers: {}, trailing_slash: "strict" }, "github")).toHaveLength(2);
    expect(faultsOf({ presets: ["nothing"] }, "github")).toEqual([expect.stringMatching(/^presets\.0 /)]);
  });
});

describe.each(BUILT_IN_SERVICES.map(({ name }) => name))("the rules of %s", (service) => {
  it("match something for each permission that can be granted", () => {
    const { rules } = services.get(service)!.table();
    const required = new Set(rules.flatMap((rule) => rule.required));
    const without = listService(catalogue, service).filter((permission) => !required.has(permission));
    expect(without, `No rule in src/policy/services/${service}.ts needs these permissions.`).toEqual([]);
  });

  it("are shown by a case for each permission, and by one that no rule matches", () => {
    const shown = new Set(Object.values(CASES[service] ?? {}).flatMap((permission) => permission.split("+")));
    const missing = [...listService(catalogue, service), "uncovered"].filter((one) => !shown.has(one));
    expect(missing, `Add requests that need these to CASES.${service} in this file.`).toEqual([]);
  });
});

describe.each(Object.entries(CASES))("%s", (service, cases) => {
  it.each(Object.entries(cases))("takes %s for %s", (request, permission) => {
    expect(taken(service, request)).toBe(permission);
  });

  it("reads and writes with permissions of its own only", () => {
    for (const { required } of services.get(service)!.table().rules) {
      expect(required.every((permission) => permission.startsWith(`${service}:`))).toBe(true);
    }
  });
});

describe("a delimiter that is encoded", () => {
  const rules = [
    "GET /models/{model:name} models",
    "POST /models/{model:name}:run models:run",
    "GET /Customers({id:int}) models",
    "GET /users/$count models",
  ];
  const {
    services: own,
    catalogue: owned,
    faults: wrong,
  } = loadServices(
    new Map([["odata", { base_url: "https://odata.example", resources: { models: ["read", "run", "write"] }, rules }]]),
    {},
  );
  it.each([
    ["GET", "/models/gemini-2.5-pro", "odata:models:read"],
    ["POST", "/models/gemini-2.5-pro:run", "odata:models:run"],
    ["POST", "/models/gemini-2.5-pro%3Arun", "odata:*:*"],
    ["GET", "/models/gemini-2.5-pro%3Arun", "odata:*:*"],
    ["GET", "/Customers(1)", "odata:models:read"],
    ["GET", "/Customers%281%29", "odata:*:*"],
    ["GET", "/users/$count", "odata:models:read"],
    ["GET", "/users/%24count", "odata:*:*"],
  ])("is not the plain one: %s %s needs %s", (method, path, needed) => {
    expect(wrong).toEqual([]);
    const { explanation, reasons } = explain({ services: own, catalogue: owned }, { service: "odata", method, path });
    expect(explanation.all_required).toEqual([needed]);
    if (/%(?:28|24)/.test(path)) expect(reasons.message).toContain("write delimiters like : and ( as they are");
  });
});

describe("a slash that is encoded", () => {
  const { services: own, catalogue: owned } = loadServices(
    new Map([
      [
        "vault",
        {
          base_url: "https://vault.example",
          resources: { public: ["read"], secret: ["read"] },
          rules: [
            "GET /named/{name:text} public",
            "GET /named/{name:text}/secret secret",
            "GET /named/{name:text}/info public",
            "GET /files/{path...} public",
          ],
        },
      ],
    ]),
    {},
  );
  it.each([
    ["/named/x%2Fsecret", "encoded_slash"],
    ["/named/x%2FSecret", "encoded_slash"],
    ["/named/x%2Fsecret.JSON", "encoded_slash"],
    ["/named/x%2Fy%2Fz", "allowed"],
    ["/named/x%2Finfo", "allowed"],
    ["/named/x%2Fsecret/info", "allowed"],
    ["/files/named%2Fx%2Fsecret", "allowed"],
  ])("in %s: %s, as an upstream may decode it before it looks for its route", (path, code) => {
    const question = { service: "vault", method: "GET", path, permissions: ["vault:public:read"] };
    expect(explain({ services: own, catalogue: owned }, question).explanation.code).toBe(code);
  });
});
