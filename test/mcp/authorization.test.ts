import { decodeJwt } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { assertion, ISSUER, registerKey, secretOf, token } from "../oauth/clients.ts";
import { world, type Registered } from "../support/world.ts";
import { callTool, modern } from "./client.ts";

const self = world();
let agent: Registered;
beforeAll(async () => {
  agent = await self.agent(["lab:things:read", "lab:things:write"]);
});

const METADATA = `${ISSUER}/.well-known/oauth-protected-resource/mcp`;
const RESOURCE = `${ISSUER}/mcp`;

const grant = async (resource: string, more: Record<string, string> = {}): Promise<string> => {
  const parameters = { grant_type: "client_credentials", resource, ...secretOf(agent), ...more };
  const { status, body } = await token(self, parameters);
  if (status !== 200) throw new Error(JSON.stringify(body));
  return body.access_token as string;
};

describe("a client without a token", () => {
  it("is led to the metadata of the MCP server, and from there to the token endpoint", async () => {
    const { status, headers } = await modern(self, "tools/list");
    expect([status, headers.get("www-authenticate")]).toEqual([
      401,
      `Bearer realm="agentauth", resource_metadata="${METADATA}"`,
    ]);
    const { body } = await self.call(METADATA.slice(ISSUER.length));
    expect(body).toMatchObject({
      resource: RESOURCE,
      authorization_servers: [ISSUER],
      bearer_methods_supported: ["header"],
    });
    const server = await self.call("/.well-known/oauth-authorization-server");
    expect(server.body.protected_resources).toContain(RESOURCE);
  });

  it("is told of a bad one", async () => {
    const { status, headers } = await modern(self, "tools/list", {}, { token: "garbage" });
    expect([status, headers.get("www-authenticate")]).toEqual([
      401,
      `Bearer realm="agentauth", error="invalid_token", resource_metadata="${METADATA}"`,
    ]);
  });
});

describe("a request that is refused before its sender is admitted", () => {
  const counted = (where: ReturnType<typeof world>) =>
    where.sent.flatMap((message) => (message.kind === "refusals" ? message.refusals : []));

  it("is counted, by the session of its token or by its network, and a call of a tool like a list", async () => {
    const one = await self.agent();
    await self.call("/agents/revoke-tokens", { method: "POST", token: one.token });
    const call = { name: "lab_list_things", arguments: {} };
    for (const [method, params, token, expected] of [
      ["tools/list", {}, one.token, { code: "token_revoked", agentId: one.id }],
      ["tools/call", call, one.token, { code: "token_revoked", agentId: one.id }],
      ["tools/list", {}, undefined, { code: "missing_token", agentId: "" }],
    ] as const) {
      // The first refusal of an isolate is sent at once.
      const fresh = world();
      expect((await modern(fresh, method, params, { token })).status).toBe(401);
      expect(counted(fresh)).toMatchObject([{ ...expected, count: 1 }]);
    }
  });
});

describe("a token with a resource", () => {
  it("is taken if that is the MCP server, for lists and for calls of any service, and nowhere else", async () => {
    const access = await grant(RESOURCE);
    expect(decodeJwt(access).aud).toBe(RESOURCE);
    expect((await modern(self, "tools/list", {}, { token: access })).status).toBe(200);
    const { structuredContent } = await callTool(self, access, "lab_put_thing", { id: "7", body: {} });
    expect(structuredContent).toMatchObject({ method: "PUT", url: "/things/7" });
    for (const path of ["/proxy/lab/things/7", `/agents/${agent.id}`]) {
      const { status, body } = await self.call(path, { token: access });
      expect([path, status, body.code]).toEqual([path, 401, "invalid_token"]);
    }
  });

  it.each([`${ISSUER}/proxy/lab`])(
    "is refused if it is %s, for lists and for calls of that service",
    async (resource) => {
      const access = await grant(resource);
      for (const [method, params] of [
        ["tools/list", {}],
        ["server/discover", {}],
        ["tools/call", { name: "lab_get_thing", arguments: { id: "7" } }],
      ] as const) {
        const { status, body } = await modern(self, method, params, { token: access });
        expect([method, status, body.code]).toEqual([method, 401, "invalid_token"]);
      }
    },
  );

  it("can only name the MCP server as it is", async () => {
    for (const resource of [`${ISSUER}/mcp/`, `${ISSUER}/MCP`, `${ISSUER}/mcp?tools=lab`, `${ISSUER}/mcp#x`]) {
      await expect(grant(resource)).rejects.toThrow("invalid_target");
    }
  });

  it("comes for a private key as well", async () => {
    const key = await registerKey(self, agent);
    const { body } = await token(self, {
      grant_type: "client_credentials",
      resource: RESOURCE,
      client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
      client_assertion: await assertion(agent.id, key),
    });
    expect((await modern(self, "tools/list", {}, { token: body.access_token })).status).toBe(200);
  });
});

describe("a token with less than its agent", () => {
  it("is told all scopes that a call needs", async () => {
    const access = await grant(RESOURCE, { scope: "lab:things:read" });
    const params = { name: "lab_delete_thing", arguments: { id: "7" } };
    const { status, headers } = await modern(self, "tools/call", params, { token: access });
    expect([status, headers.get("www-authenticate")]).toEqual([
      403,
      `Bearer realm="agentauth", error="insufficient_scope", scope="lab:things:write", resource_metadata="${METADATA}"`,
    ]);
  });
});
