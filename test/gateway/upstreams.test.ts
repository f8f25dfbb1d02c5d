import { describe, expect, inject, it } from "vitest";
import { bodyLinksOf } from "../../src/policy/body-links.ts";
import { resolveRequest } from "../../src/policy/resolve.ts";
import { BUILT_IN_SERVICES, loadServices } from "../../src/policy/services.ts";
import { overlaps } from "../../src/policy/rule-table.ts";
import { describeFault, upstreamSettings } from "../../src/config/upstream-settings.ts";
import { refusedRules } from "../../src/policy/extend-service.ts";
import { validatePermission } from "../../src/permissions/grammar.ts";
import { isGranted, waysToGrant } from "../../src/permissions/match.ts";
import { BUILT_IN_CATALOGUE, listService } from "../../src/permissions/catalogue.ts";
import { world } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const ORDERS = {
  base_url: "https://orders.example.com/api",
  resources: { orders: ["read", "write"], reports: ["read", "run"] },
  rules: ["GET /orders orders", "* /orders/{id:int} orders", "POST /reports/{name}/run reports:run"],
};

/** What the settings say, with the services that they make. */
function load(env: Record<string, unknown>, ownOrigin?: string) {
  const { upstreams, faults } = upstreamSettings(env);
  const loaded = loadServices(upstreams, BUILT_IN_CATALOGUE, ownOrigin);
  return { ...loaded, faults: [...faults, ...loaded.faults.map(describeFault)] };
}
const orders = (change: Record<string, unknown>) => load({ UPSTREAMS: { orders: { ...ORDERS, ...change } } }).faults;

describe("an operator's upstream", () => {
  const { services, catalogue, faults } = load({ UPSTREAMS: { orders: ORDERS } });
  const ask = (method: string, target: string) =>
    resolveRequest(services, { service: "orders", method, target, headers: new Headers() });

  it("adds itself to the catalogue and is resolved like any other service", () => {
    expect(faults).toEqual([]);
    expect(listService(catalogue, "orders")).toEqual([
      "orders:orders:read",
      "orders:orders:write",
      "orders:reports:read",
      "orders:reports:run",
    ]);
    expect(ask("GET", "/orders")).toMatchObject({ required: ["orders:orders:read"], write: false });
    expect(ask("HEAD", "/orders/7")).toMatchObject({ required: ["orders:orders:read"] });
    expect(ask("PATCH", "/orders/7")).toMatchObject({ required: ["orders:orders:write"], write: true });
    expect(ask("POST", "/reports/daily/run")).toMatchObject({ required: ["orders:reports:run"], write: true });
    expect(ask("GET", "/orders/x")).toMatchObject({ rule: null, required: ["orders:*:*"], write: true });
  });

  it.each([
    ["two rules that overlap", { rules: ["GET /orders/{id} orders", "* /orders/{name...} orders:write"] }, "overlap"],
    ["the same rule twice", { rules: ["GET /orders orders", "GET /orders orders"] }, '"GET /orders orders" overlap'],
    [
      "a permission that is not in its catalogue",
      { rules: ["GET /a invoices:read"] },
      '"GET /a invoices:read": the catalogue has no orders:invoices:read',
    ],
    [
      "a default that is not in its catalogue",
      { rules: ["DELETE /a reports"] },
      "the catalogue has no orders:reports:write",
    ],
    [
      "a permission of another service",
      { rules: ["GET /a github:repos:read"] },
      "github:repos:read is not a permission of orders",
    ],
    ["a wildcard", { rules: ["GET /a orders:*"] }, "orders:* is not a permission of orders"],
    ["too few parts", { rules: ["GET /a"] }, 'rule "GET /a": a rule has three parts'],
    ["an unknown method", { rules: ["FETCH /a orders"] }, "FETCH is not a method"],
    ["a path without a slash", { rules: ["GET a orders"] }, "does not begin with /"],
    ["an unknown type", { rules: ["GET /{id:number} orders"] }, "a type is int"],
    ["a half parameter", { rules: ["GET /a{id orders"] }, 'the segment "a{id"'],
    ["two parameters in a segment", { rules: ["GET /{a}-{b} orders"] }, "has more than one parameter"],
    ["a parameter without a name", { rules: ["GET /a{} orders"] }, "has a parameter without a name"],
    ["a tail in the middle", { rules: ["GET /{a...}/b orders"] }, "may only stand at the end"],
    ["a tail behind a text", { rules: ["GET /x{a...} orders"] }, "as a whole segment"],
    ["a text for %2F behind a text", { rules: ["GET /x{a:text} orders"] }, "can only be a whole segment"],
    ["a segment that ends in a dot", { rules: ["GET /{a}. orders"] }, 'the segment "{a}."'],
    ["a description of what no rule has", { operations: { "GET /b": { name: "b" } } }, "is of no rule"],
    [
      "a required parameter that is not described",
      { rules: ["GET /a orders"], operations: { "GET /a": { required: ["page"] } } },
      "operations.GET /a.required.0: is not a parameter",
    ],
    [
      "two operations of one name",
      { rules: ["GET /a orders", "GET /b orders"], operations: { "GET /a": { name: "x" }, "GET /b": { name: "x" } } },
      "is the name of GET /a too",
    ],
    [
      "a description with an invisible character",
      { rules: ["GET /a orders"], operations: { "GET /a": { description: "a\u200bb" } } },
      "must be one line without invisible characters",
    ],
    [
      "a misspelt key of an operation",
      { rules: ["GET /a orders"], operations: { "GET /a": { descripton: "a" } } },
      "is an unknown key. Did you mean description?",
    ],
    ["a trailing slash of another kind", { trailing_slash: "any" }, "orders.trailing_slash"],
    [
      "two rules that differ in a slash, where none matters",
      { trailing_slash: "optional", rules: ["GET /a orders", "GET /a/ reports"] },
      "overlap",
    ],
    [
      "a part of a segment that another matches whole",
      { rules: ["GET /{name} orders", "GET /{name}.json reports"] },
      "overlap",
    ],
    ["an empty segment", { rules: ["GET /a//b orders"] }, 'the segment ""'],
    ["a dot segment", { rules: ["GET /a/../b orders"] }, 'the segment ".."'],
    ["an encoded segment", { rules: ["GET /a%2Fb orders"] }, 'the segment "a%2Fb"'],
    ["no rules", { rules: [] }, "orders.rules"],
    ["no resources", { resources: undefined }, "base_url, resources and rules are all needed"],
    ["a resource that cannot be granted", { resources: { "Or:ders": ["read"] } }, "orders.resources"],
    ["a base URL with a query", { base_url: "https://a.example/?x=1" }, "orders.base_url"],
    ["a base URL with a user", { base_url: "https://u:p@a.example" }, "orders.base_url"],
    ["a base URL that is not canonical", { base_url: "https://a.example/x/../y" }, "orders.base_url"],
    ["a base URL of another kind", { base_url: "ftp://a.example" }, "orders.base_url"],
    ["an unknown scheme", { credential: { scheme: "digest" } }, "orders.credential"],
    [
      "a header that frames the request",
      { credential: { scheme: "header", name: "Content-Length" } },
      "orders.credential.name",
    ],
    ["a header with a line break", { credential: { scheme: "header", name: "a\nb" } }, "orders.credential.name"],
    ["a secret in the settings", { credential: { scheme: "bearer", token: "s" } }, "orders.credential"],
    ["a misspelt key", { rulez: [] }, "orders.rulez: is an unknown key. Did you mean rules? Known are base_url, "],
    ["an unknown key", { x: 1 }, "orders.x: is an unknown key. Known are base_url, credential, resources, rules, "],
    [
      "a misspelt key of its credential",
      { credential: { scheme: "client_credentials", token_uri: "/token" } },
      "orders.credential.token_uri: is an unknown key. Did you mean token_url? Known are scheme, token_url, auth_method, ",
    ],
    [
      "a token's URL that holds a secret",
      { credential: { scheme: "client_credentials", token_url: "https://id:secret@login.example.com/token" } },
      "orders.credential.token_url: must have no user, password or fragment.",
    ],
    [
      "a parameter of the token request that the gateway sets",
      { credential: { scheme: "client_credentials", token_url: "/token", parameters: { client_secret: "s" } } },
      "orders.credential.parameters.client_secret: must be a parameter that is not set by a key of its own",
    ],
    [
      "a claim that the gateway sets",
      { credential: { scheme: "jwt_bearer", token_url: "/token", claims: { exp: 1 } } },
      "orders.credential.claims.exp: is set by the gateway.",
    ],
    [
      "an algorithm that signs with no private key",
      { credential: { scheme: "jwt_bearer", token_url: "/token", algorithm: "HS256" } },
      "orders.credential.algorithm: must be one of RS256, ",
    ],
    [
      "an installation that is no number",
      { credential: { scheme: "github_app", installation_id: "my-org" } },
      "orders.credential.installation_id: must be the installation's number, in quotes",
    ],
    [
      "a parameter that could be read in two ways",
      { credential: { scheme: "query", name: "key[]" } },
      "orders.credential.name: must be a name of letters",
    ],
    ["a value of another kind", { timeout_ms: "5000" }, "orders.timeout_ms: must be a number."],
    [
      "a resource whose name is none",
      { resources: { Orders: ["read"] } },
      "orders.resources.Orders: must be a name of",
    ],
    ["a rule that is wrong, by its place", { rules: ["GET /orders orders", "GET /a"] }, "orders.rules.1: rule "],
    ["an endless timeout", { timeout_ms: 1e9 }, "orders.timeout_ms"],
    [
      "cookies for its agents",
      { response_headers: ["X-Ok", "Set-Cookie"] },
      "orders.response_headers.1: names a header",
    ],
    ["rules for browsers", { response_headers: ["Content-Security-*"] }, "orders.response_headers.0: names a header"],
    ["a header of the gateway's", { response_headers: ["X-AgentAuth-*"] }, "orders.response_headers.0: names a header"],
    ["a place of links that is none", { body_links: ["/next", "/a~2"] }, "orders.body_links.1: must be a JSON pointer"],
    ["every name", { body_links: ["*"] }, "orders.body_links.0: must be a JSON pointer"],
    ["a name with two stars", { removed_links: ["*_url*"] }, "orders.removed_links.0: must be a member's name"],
    ["a pointer where names are", { removed_links: ["/url"] }, "orders.removed_links.0: must be a member's name"],
    ["what is no header", { response_headers: ["*"] }, "orders.response_headers.0: must be the name"],
  ])("with %s is a fault that names it", (_, change, expected) => {
    const faults = orders(change).join("\n");
    expect(faults).toContain("UPSTREAMS.orders");
    expect(faults).toContain(expected);
  });

  it("keeps words out of a text that would make another path of it, decoded", () => {
    const rules = ["GET /files/{name:text!keys|admin} orders", "GET /files/{name}/keys reports"];
    const { services: own, faults: wrong } = load({ UPSTREAMS: { orders: { ...ORDERS, rules } } });
    expect(wrong).toEqual([]);
    const taken = (target: string) => {
      const resolved = resolveRequest(own, { service: "orders", method: "GET", target, headers: new Headers() });
      return resolved.outcome === "refused" ? resolved.code : resolved.required[0];
    };
    expect(taken("/files/a%2Fb")).toBe("orders:orders:read");
    expect(taken("/files/keys")).toBe("orders:orders:read");
    expect(taken("/files/a/keys")).toBe("orders:reports:read");
    expect(taken("/files/a%2Fkeys")).toBe("encoded_slash");
    expect(taken("/files/a%2Fb%2fadmin%2Fc")).toBe("encoded_slash");
  });

  it("says which response headers pass beside those that always do", () => {
    const { services: own, faults: wrong } = load({
      UPSTREAMS: {
        orders: { ...ORDERS, response_headers: ["HAL-Docs", "Acme-*"] },
        github: { response_headers: ["HAL-*"] },
      },
    });
    expect(wrong).toEqual([]);
    expect(own.get("orders")!.definition.responseHeaders).toEqual(["hal-docs", "acme-*"]);
    expect(own.get("github")!.definition.responseHeaders).toEqual(["hal-*"]);
  });

  it("says which links in bodies lead through the gateway, a built-in service's too", () => {
    const links = (upstreams: Record<string, unknown>, service: string, mode?: "rewrite" | "keep") => {
      const { services: own, faults: wrong } = load({ UPSTREAMS: upstreams });
      expect(wrong).toEqual([]);
      return bodyLinksOf(own.get(service)!.definition, mode);
    };
    const declared = { orders: { ...ORDERS, body_links: ["/next", "*_url"], removed_links: ["upload_url"] } };
    expect(links(declared, "orders")).toEqual({ rewritten: ["/next", "*_url"], removed: ["upload_url"] });
    expect(links(declared, "orders", "keep")).toBeUndefined();
    expect(links(declared, "orders", "rewrite")?.rewritten).toEqual(expect.arrayContaining(["/next", "*_url", "href"]));
    expect(links({ orders: ORDERS }, "orders")).toBeUndefined();
    expect(links({ orders: ORDERS }, "orders", "rewrite")?.rewritten).toContain("url");
    expect(links({}, "github")?.rewritten).toContain("url");
    expect(links({ github: { body_links: [] } }, "github")).toEqual({
      rewritten: [],
      removed: ["upload_url", "download_url"],
    });
    expect(links({ github: { body_links: [], removed_links: [] } }, "github")).toBeUndefined();
  });

  it("reports every rule that is wrong, at once", () => {
    const faults = orders({ rules: ["GET /a nothing", "GET /ok orders", "FETCH /b orders"] });
    expect(faults).toHaveLength(2);
    expect(faults.join()).toContain('"GET /a nothing"');
    expect(faults.join()).toContain('"FETCH /b orders"');
  });

  it("says which fields grants may limit, at which of its rules", () => {
    const limits = {
      "path.id": { alone: ["* /orders/{id:int} orders"], without: ["query.as"] },
      "body.customer": { also: { "GET,POST /orders orders": ["body.payer"] }, ignores_case: true },
      "body.branch": { alone: ["POST /reports/{name}/run reports:run"], is_path: true },
      "query.state": { alone: ["GET,POST /orders orders"], closed_list: ["open", "paid"] },
    };
    const rules = ["GET,POST /orders orders", "* /orders/{id:int} orders", "POST /reports/{name}/run reports:run"];
    const loaded = load({ UPSTREAMS: { orders: { ...ORDERS, rules, limits } } });
    expect(loaded.faults).toEqual([]);
    const fields = loaded.services.get("orders")!.table().limits();
    expect([...fields.keys()]).toEqual(Object.keys(limits));
    expect(fields.get("body.customer")).toMatchObject({ ignoresCase: true });
    expect(fields.get("body.branch")).toMatchObject({ isPath: true });
    expect(fields.get("query.state")).toMatchObject({ closedList: ["open", "paid"] });
    expect(fields.get("path.id")!.without).toMatchObject([{ name: "query.as" }]);
  });

  it.each<[string, object, string]>([
    ["a field of no place", { id: { alone: ["GET /orders orders"] } }, "limits.id: id is not path.NAME"],
    ["a field without a letter", { "query._": { alone: ["GET /orders orders"] } }, "query._ is not path.NAME"],
    ["a line that is no rule", { "query.a": { alone: ["GET /orders"] } }, 'alone.0: "GET /orders" is not a rule'],
    ["a rule without the parameter", { "path.id": { alone: ["GET /orders orders"] } }, "alone.0: the rule"],
    [
      "a further rule without it",
      { "path.id": { also: { "GET /orders orders": ["body.id"] } } },
      "has no parameter id",
    ],
    ["a further field of no place", { "query.a": { also: { "GET /orders orders": ["x"] } } }, ".0: x is not path.NAME"],
    ["a forbidden field of no place", { "query.a": { alone: ["GET /orders orders"], without: ["x"] } }, "without.0: x"],
    ["no rule", { "query.a": { ignores_case: true } }, "names no rule"],
    [
      "a rule in both lists",
      { "query.a": { alone: ["GET /orders orders"], also: { "GET /orders orders": ["query.b"] } } },
      "is in also as well",
    ],
    ["a misspelt key", { "query.a": { aloone: ["GET /orders orders"] } }, "Did you mean alone?"],
    ["a closed list of nothing", { "query.a": { alone: ["GET /orders orders"], closed_list: [] } }, "closed_list"],
  ])("is refused for a limit with %s", (_, limits, expected) => {
    expect(orders({ limits }).join("\n")).toContain(expected);
  });

  it("adds fields to a built-in service at its own rules, and changes none of those that were reviewed", SLOW, () => {
    const line = "GET /repos/{owner}/{repo}/actions/runs runs:read";
    const own = (limits: object) =>
      load({ UPSTREAMS: { github: { resources: { runs: ["read"] }, rules: [line], limits } } });
    const added = own({ "path.owner": { alone: [line] }, "query.branch": { alone: [line], is_path: true } });
    expect(added.faults).toEqual([]);
    const fields = added.services.get("github")!.table().limits();
    expect(fields.get("path.owner")).toMatchObject({ ignoresCase: true });
    expect(fields.get("path.owner")!.rules.has(line)).toBe(true);
    expect(fields.get("path.repo")!.rules.has(line)).toBe(false);
    const forks = "GET,POST /repos/{owner}/{repo}/forks repos";
    expect(own({ "path.owner": { alone: [forks] } }).faults.join()).toContain("is a rule of github itself");
    expect(own({ "path.owner": { alone: [line], ignores_case: false } }).faults.join()).toContain(
      "only alone and also can be added",
    );
  });

  it("is declared in a file, whose keys a variable may change one by one", () => {
    const { upstreams, faults: wrong } = upstreamSettings(
      { "UPSTREAMS.orders.base_url": "http://127.0.0.1:9001" },
      { orders: ORDERS },
    );
    expect(wrong).toEqual([]);
    expect(upstreams.get("orders")).toEqual({ ...ORDERS, base_url: "http://127.0.0.1:9001" });
  });

  it("is declared in one place only, a file or the table of variables", () => {
    const { faults: wrong } = upstreamSettings({ UPSTREAMS: { orders: ORDERS } }, { orders: ORDERS });
    expect(wrong).toEqual([
      "UPSTREAMS.orders: upstreams/orders.toml declares this upstream as well. Remove one of the two.",
    ]);
  });

  it("is declared in a file, whose keys a variable may change one by one", () => {
    const { upstreams, faults: wrong } = upstreamSettings(
      { "UPSTREAMS.orders.base_url": "http://127.0.0.1:9001" },
      { orders: ORDERS },
    );
    expect(wrong).toEqual([]);
    expect(upstreams.get("orders")).toEqual({ ...ORDERS, base_url: "http://127.0.0.1:9001" });
  });

  it("is declared in one place only, a file or the table of variables", () => {
    const { faults: wrong } = upstreamSettings({ UPSTREAMS: { orders: ORDERS } }, { orders: ORDERS });
    expect(wrong).toEqual([
      "UPSTREAMS.orders: upstreams/orders.toml declares this upstream as well. Remove one of the two.",
    ]);
  });

  it("cannot share the names of another's secrets", () => {
    const both = load({ UPSTREAMS: { "my-api": ORDERS, my_api: ORDERS } }).faults.join();
    expect(both).toContain("UPSTREAM_MY_API_TOKEN");
  });

  it("cannot be the gateway itself", () => {
    const faults = load({ UPSTREAMS: { orders: ORDERS } }, "https://orders.example.com").faults.join();
    expect(faults).toContain("UPSTREAMS.orders.base_url: is the gateway's own origin");
  });

  it("stops the whole deployment while it is wrong, saying what to fix", async () => {
    const { call } = world({ UPSTREAMS: { orders: { ...ORDERS, rules: ["GET /a nothing"] } } });
    const { status, body } = await call("/health");
    expect(status).toBe(503);
    expect(JSON.stringify(body.details)).toContain('rule \\"GET /a nothing\\"');
  });
});

describe("an upstream whose rules were checked when the Worker was built", () => {
  it("is not checked again, and decides as before", () => {
    const wrong = { ...ORDERS, rules: ["GET /a orders", "GET /a reports"] };
    const upstreams = new Map([["orders", wrong]]);
    expect(loadServices(upstreams, {}).faults).toHaveLength(1);
    expect(loadServices(upstreams, {}, "", new Set(["orders"])).faults).toEqual([]);
    const { services } = loadServices(new Map([["orders", ORDERS]]), {}, "", new Set(["orders"]));
    const request = { service: "orders", method: "GET", target: "/orders/7", headers: new Headers() };
    expect(resolveRequest(services, request)).toMatchObject({ required: ["orders:orders:read"] });
  });
});

describe("a slash at the end of a path", () => {
  const shop = (change: object) => ({
    "UPSTREAMS.shop": {
      base_url: `${inject("upstream")}/lab/slash`,
      credential: { scheme: "none" },
      resources: { orders: ["read", "write"] },
      rules: ["GET / orders", "GET,POST /orders orders", "GET /stock/ orders"],
      ...change,
    },
  });

  it(
    "that the upstream adds by a redirect leads to a URL that the agent may call, where both are taken",
    SLOW,
    async () => {
      const { agent, call } = world(shop({ trailing_slash: "optional" }));
      const { token } = await agent(["shop:orders:read"]);
      for (const path of ["/proxy/shop", "/proxy/shop/orders", "/proxy/shop/orders?page=2"]) {
        const redirect = await call(path, { token, redirect: "manual" });
        expect(redirect.status).toBe(301);
        const { pathname, search } = new URL(redirect.headers.get("location")!, "https://auth.example.com");
        expect(pathname + search).toBe(path.replace(/(?=\?|$)/, "/"));
        const followed = await call(pathname + search, { token });
        expect([followed.status, followed.headers.get("x-got")]).toEqual([
          200,
          `GET /lab/slash${path.slice("/proxy/shop".length).replace(/(?=\?|$)/, "/")}`,
        ]);
      }
    },
  );

  it("is taken exactly where the rule has it, unless both are taken, and a denial says so", SLOW, async () => {
    const { agent, call } = world(shop({}));
    const { token } = await agent(["shop:orders:read"]);
    expect((await call("/proxy/shop/stock/", { token })).headers.get("x-got")).toBe("GET /lab/slash/stock/");
    for (const [path, word] of [
      ["/proxy/shop/stock", "with"],
      ["/proxy/shop/orders/", "without"],
    ]) {
      const { status, body } = await call(path!, { token });
      expect([status, body.required]).toEqual([403, "shop:*:*"]);
      expect(body.message).toContain(`There is a rule for it ${word} a slash at its end.`);
      expect(body.message).toContain('trailing_slash = "optional"');
    }
    expect((await call("/proxy/shop/orders//", { token })).body.code).toBe("empty_segment");
  });
});

describe("a built-in service", () => {
  it.each(BUILT_IN_SERVICES.map(({ name }) => name))("%s has a base URL that can be set", async (name) => {
    const { services, faults } = load({ [`UPSTREAMS.${name}.base_url`]: "http://127.0.0.1:9001" });
    expect(faults).toEqual([]);
    expect(services.get(name)).toMatchObject({ origin: "http://127.0.0.1:9001", basePath: "" });
    const table = load({ UPSTREAMS: { [name]: { base_url: "http://127.0.0.1:9001/enterprise", timeout_ms: 5 } } });
    expect(table.services.get(name)).toMatchObject({ basePath: "/enterprise", timeoutMs: 5 });
  });

  it.each(BUILT_IN_SERVICES.map(({ name }) => name))(
    "%s has a table without faults and without rules that overlap",
    (name) => {
      const { services, faults } = load({});
      expect(faults).toEqual([]);
      const { rules } = services.get(name)!.table();
      expect(rules.length).toBeGreaterThan(0);
      expect(overlaps(rules).map((pair) => pair.map(({ source }) => source))).toEqual([]);
    },
  );
});

describe("what an operator adds to a built-in service", () => {
  const github = (additions: object) => load({ UPSTREAMS: { github: additions } });
  const needed = (services: ReturnType<typeof load>["services"], request: string) => {
    const [method = "", target = ""] = request.split(" ");
    const resolved = resolveRequest(services, { service: "github", method, target, headers: new Headers() });
    return resolved.outcome === "refused" ? resolved.code : resolved.required.join("+");
  };
  const PULLS = {
    resources: { pull_requests: ["read", "write"], dispatches: ["run"] },
    rules: [
      "POST /repos/{owner}/{repo}/pulls pull_requests",
      "POST /repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches dispatches:run",
    ],
  };

  it("covers what its rules say, and nothing else changes", () => {
    const { services, catalogue, faults } = github(PULLS);
    expect(faults).toEqual([]);
    expect(listService(catalogue, "github")).toEqual([
      ...listService(BUILT_IN_CATALOGUE, "github"),
      "github:pull_requests:write",
      "github:dispatches:run",
    ]);
    expect(needed(services, "POST /repos/o/r/pulls")).toBe("github:pull_requests:write");
    expect(needed(services, "POST /repos/o/r/actions/workflows/7/dispatches")).toBe("github:dispatches:run");
    expect(needed(services, "PATCH /repos/o/r/pulls/7")).toBe("github:*:*");
    expect(needed(services, "GET /repos/o/r/pulls/7")).toBe("github:pull_requests:read");
    expect(needed(load({}).services, "POST /repos/o/r/pulls")).toBe("github:*:*");
  });

  it("widens no wildcard that was granted before", SLOW, async () => {
    const { catalogue } = github({ ...PULLS, presets: ["statuses-and-checks"] });
    const granted = new Set(["github:pull_requests:*", "github:dispatches:*", "github:statuses:*"]);
    expect(isGranted(granted, "github:pull_requests:read", catalogue)).toBe(true);
    for (const permission of ["pull_requests:write", "dispatches:run", "statuses:read", "statuses:write"]) {
      expect(isGranted(granted, `github:${permission}`, catalogue), permission).toBe(false);
      const ways = waysToGrant(`github:${permission}`, catalogue);
      expect(ways.filter((way) => way.every((one) => granted.has(one)))).toEqual([]);
    }
    expect(isGranted(new Set(["github:pull_requests:write"]), "github:pull_requests:write", catalogue)).toBe(true);
    expect(isGranted(new Set(["github:*:*"]), "github:statuses:write", catalogue)).toBe(true);
    expect(validatePermission("github:statuses:*", catalogue)).toContain("granted by name: read, write");
    expect(validatePermission("github:statuses:write", catalogue)).toBeUndefined();

    const settings = {
      "UPSTREAMS.github.presets": '["pull-request-writes"]',
      UPSTREAM_GITHUB_TOKEN: "token-of-the-company",
    };
    const { agent, call } = world(settings);
    const [wide, exact] = [await agent(["github:pull_requests:*"]), await agent(["github:pull_requests:write"])];
    const init = { method: "POST", json: { title: "a" } };
    const denied = await call("/proxy/github/repos/o/r/pulls", { ...init, token: wide.token });
    expect([denied.status, denied.body.required]).toEqual([403, "github:pull_requests:write"]);
    expect((await call("/proxy/github/repos/o/r/pulls", { ...init, token: exact.token })).status).toBe(200);
    const { body } = await call("/permissions/list");
    expect(body.permissions.github).toContain("github:pull_requests:write");
  });

  it.each([
    [
      "a preset that there is not",
      { presets: ["pull-requests-writes"] },
      "github.presets.0: is no preset. Did you mean pull-request-writes? Known are ",
    ],
    ["a rule that the service has", { rules: ["GET /repos/{owner}/{repo}/issues repos"] }, "github.rules.0: the rules"],
    [
      "a rule that a preset has",
      { presets: ["pull-request-writes"], rules: ["POST /repos/{owner}/{repo}/pulls issues"] },
      'github.rules.0: the rules "POST /repos/{owner}/{repo}/pulls pull_requests" and ',
    ],
    [
      "a permission that nobody has added",
      { rules: ["POST /repos/{owner}/{repo}/pulls pull_requests"] },
      "github.rules.0: rule ",
    ],
    [
      "secrets",
      { rules: ["GET /repos/{owner}/{repo}/actions/secrets repos"] },
      'could match "* /repos/{owner}/{repo}/actions/',
    ],
    [
      "secrets by the number of their repository",
      { rules: ["GET /repositories/{id:int}/dependabot/secrets repos"] },
      "which no rule of github may",
    ],
    ["secrets with a slash", { rules: ["GET /repos/{owner}/{repo}/keys/ repos"] }, "which no rule of github may"],
    [
      "a parameter that could be any section",
      { rules: ["GET /repos/{owner}/{repo}/{section}/{id}/x repos"] },
      "which no rule of github may",
    ],
    ["everything", { rules: ["POST /{path...} repos"] }, "which no rule of github may"],
    ["GraphQL", { rules: ["POST /graphql repos"] }, 'could match "* /graphql"'],
    [
      "what its rules belong to",
      { trailing_slash: "optional" },
      "github.trailing_slash: cannot be set of a built-in service",
    ],
    [
      "parameters to refuse",
      { refuse_parameters: [] },
      "github.refuse_parameters: cannot be set of a built-in service",
    ],
  ])("is a fault with %s", (_, additions, expected) => {
    expect(github(additions).faults.join("\n")).toContain(expected);
  });

  it("has no presets for an upstream of one's own", () => {
    expect(orders({ presets: ["users"] }).join()).toContain("orders.presets: are for the built-in services (zendesk, ");
  });

  it.each(BUILT_IN_SERVICES.map((definition) => [definition.name, definition] as const))(
    "may be every preset of %s at once: none overlaps, gives what is refused, or an action that there was",
    (name, definition) => {
      const presets = Object.keys(definition.presets ?? {});
      const { services, catalogue, faults } = load({ UPSTREAMS: { [name]: { presets } } });
      expect(faults).toEqual([]);
      const { rules } = services.get(name)!.table();
      const refused = refusedRules(definition);
      const pairs = overlaps([...refused, ...rules]).filter((pair) => pair.some((rule) => rules.includes(rule)));
      expect(pairs.map((pair) => pair.map(({ source }) => source))).toEqual([]);
      const added = Object.values(definition.presets ?? {}).flatMap(({ resources }) =>
        Object.entries(resources).flatMap(([resource, actions]) =>
          actions.map((action) => `${name}:${resource}:${action}`),
        ),
      );
      expect(new Set(added).size).toBe(added.length);
      const before = listService(BUILT_IN_CATALOGUE, name);
      expect(listService(catalogue, name).toSorted()).toEqual([...before, ...added].toSorted());
      const required = new Set(rules.flatMap((rule) => rule.required));
      expect(added.filter((permission) => !required.has(permission))).toEqual([]);
    },
  );
});

describe("settings in flat form", () => {
  it("win over the table, key by key", () => {
    const { services, faults } = load({
      UPSTREAMS: JSON.stringify({ orders: ORDERS }),
      "UPSTREAMS.orders.base_url": "http://127.0.0.1:9001",
      "UPSTREAMS.orders.credential": '{"scheme":"header","name":"X-Key"}',
    });
    expect(faults).toEqual([]);
    expect(services.get("orders")).toMatchObject({
      origin: "http://127.0.0.1:9001",
      credential: { scheme: "header", name: "X-Key" },
    });
    expect(load({ "UPSTREAMS.orders.rules.x": "1" }).faults.join()).toContain("UPSTREAMS.orders.rules.x");
  });
});
