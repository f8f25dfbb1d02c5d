import { describe, expect, it } from "vitest";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { resolveRequest, upstreamUrl, type ResolvedRequest } from "../../src/policy/resolve.ts";
import { loadServices } from "../../src/policy/services.ts";

const { services } = loadServices(new Map(), BUILT_IN_CATALOGUE);

const resolve = (request: string, headers: Record<string, string> = {}) => {
  const [service = "", method = "", target = ""] = request.split(" ");
  return resolveRequest(services, { service, method, target, headers: new Headers(headers) });
};

describe("a request that parsers can read in two ways", () => {
  // The status decides more than what the agent reads: 400 comes before the question who sent it.
  it.each<[request: string, headers: Record<string, string>, status: number, code: string]>([
    ["github GET /repos/o/r#issues", {}, 400, "fragment"],
    ["github GET /repos/o/../r", {}, 400, "dot_segment"],
    ["github GET /repos//r", {}, 400, "empty_segment"],
    ["github GET /repos/o/r%2Fissues", {}, 400, "encoded_slash"],
    ["nobody GET /x", {}, 404, "unknown_service"],
    ["github PURGE /repos/o/r", {}, 405, "method_not_allowed"],
    ["github get /repos/o/r", {}, 405, "method_not_allowed"],
    ["github GET /repos/o/r", { upgrade: "websocket" }, 400, "upgrade_refused"],
    ["zendesk GET /api/v2/tickets?include[0=users", {}, 400, "bad_query"],
    ["zendesk GET /api/v2/tickets?include=%zz", {}, 400, "bad_query"],
    ["github GET /repos/o/r", { "x-agentauth-links": "both" }, 400, "bad_links_header"],
    ["slack GET /conversations.list?token=xoxb-1", {}, 400, "parameter_refused"],
  ])("%s with %j is refused: %i %s", (request, headers, status, code) => {
    expect(resolve(request, headers)).toMatchObject({ status, code });
  });
});

describe("a request that all parsers read the same way", () => {
  it.each<[request: string, write: boolean, required: string[]]>([
    ["zendesk GET /api/v2/tickets/1", false, ["zendesk:tickets:read"]],
    ["zendesk GET /api/v2/tickets/1?include=users", false, ["zendesk:tickets:read", "zendesk:users:read"]],
    ["zendesk PUT /api/v2/tickets/1", true, ["zendesk:tickets:write"]],
    ["zendesk PUT /api/v2/tickets/1?include=users", true, ["zendesk:tickets:write", "zendesk:users:read"]],
    ["slack GET /api/chat.postMessage", true, ["slack:messages:write"]],
    ["zendesk GET /api/v2/ticket_fields", true, ["zendesk:*:*"]],
    // Encoded delimiters that mean the same in both readings, with and without a slash at the end.
    ["github GET /repos/o%40/r/issues", false, ["github:issues:read"]],
    ["github GET /repos/o%40/r/contents/docs/", false, ["github:repos:read"]],
    // A server that decodes first reads a slash at the end, which no rule allows here.
    ["github GET /repos/o/r/%3Fx", true, ["github:*:*"]],
  ])("%s: whether it is a write is %s, and it needs %j", (request, write, required) => {
    expect(resolve(request)).toMatchObject({ write, required });
  });
});

describe("the URL that is fetched", () => {
  const urlOf = (request: string, origin = "https://upstream.example") =>
    upstreamUrl(resolve(request) as ResolvedRequest, origin).href;

  it.each([
    ["slack POST /chat.postMessage", "https://upstream.example/api/chat.postMessage"],
    ["slack POST /api/chat.postMessage", "https://upstream.example/api/chat.postMessage"],
    ["github GET /repos/o/r?page=2", "https://upstream.example/repos/o/r?page=2"],
    ["github GET /", "https://upstream.example/"],
    [
      "salesforce POST /services/data/v61.0/sobjects/Account/",
      "https://upstream.example/services/data/v61.0/sobjects/Account/",
    ],
    ["github GET /repos/o/r/contents/docs/?ref=main", "https://upstream.example/repos/o/r/contents/docs/?ref=main"],
    ["github GET /repos/o/r/labels/%2F", "https://upstream.example/repos/o/r/labels/%2F"],
  ])("of %s is %s", (request, url) => {
    expect(urlOf(request)).toBe(url);
  });

  const meaning = resolve("github GET /repos/o/r") as ResolvedRequest;
  it.each<[what: string, path: string, origin: string]>([
    ["a path that a parser folds", "/repos/../x", "https://upstream.example"],
    ["a path that a parser encodes", "/repos/o r", "https://upstream.example"],
    ["another host", "/x", "https://upstream.example@evil.example"],
    ["a user", "/x", "https://user@upstream.example"],
    ["a host that the path goes on with", ".evil.example/x", "https://upstream.example"],
  ])("is none for %s", (_, path, origin) => {
    expect(() => upstreamUrl({ ...meaning, path }, origin)).toThrow("not the one that was checked");
  });
});
