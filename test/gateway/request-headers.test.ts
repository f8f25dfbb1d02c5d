import { describe, expect, inject, it } from "vitest";
import { LAB, world } from "../support/world.ts";

const lab = {
  base_url: inject("upstream"),
  ...LAB,
  request_headers: ["Notion-Version", "X-*"],
  headers: { "Anthropic-Version": "2023-06-01" },
};
const self = world({
  "UPSTREAMS.lab": lab,
  "UPSTREAMS.keyed": { ...lab, credential: { scheme: "header", name: "X-Key" } },
  UPSTREAM_KEYED_TOKEN: "keyed-real-credential-of-the-company",
  CORS_ORIGINS: "https://app.example.com",
});

describe("the headers of a request through the gateway", () => {
  it("are told in X-AgentAuth-Dropped if they are not forwarded", async () => {
    const { token } = await self.agent();
    const sent = { "accept-language": "de", "x-tenant": "7", "notion-version": "1", cookie: "a=1", "user-agent": "x" };
    const { headers, body } = await self.call("/proxy/lab/things/7", { token, headers: sent });
    expect(headers.get("x-agentauth-dropped")).toBe("cookie");
    expect(body.headers).toMatchObject({
      "accept-language": "de",
      "x-tenant": "7",
      "notion-version": "1",
      "anthropic-version": "2023-06-01",
    });
    expect(body.headers).not.toHaveProperty("cookie");
    expect((await self.call("/proxy/lab/things/7", { token })).headers.get("x-agentauth-dropped")).toBeNull();
  });

  it("never replace the credential", async () => {
    const { token } = await self.agent(["keyed:things:read"]);
    const { headers, body } = await self.call("/proxy/keyed/things/7", { token, headers: { "x-key": "the agent's" } });
    // The upstream reports what it got, which is the credential.
    expect([headers.get("x-agentauth-upstream"), body.code]).toEqual([null, "credential_echo"]);
  });

  it("refuse a write of which they would change the meaning, before anything is asked or forwarded", async () => {
    const { token } = await self.agent(["lab:things:write"]);
    const headers = { "content-range": "bytes 0-1/9" };
    const { status, body } = await self.call("/proxy/lab/things/7", { method: "PUT", token, headers, body: "ab" });
    expect([status, body.code]).toEqual([400, "header_refused"]);
    expect(body.message).toContain("content-range");
  });

  it("and of its answer may be read by a page whose origin is allowed", async () => {
    const { token } = await self.agent();
    const headers = { origin: "https://app.example.com", "x-unknown-to-cors": "1", cookie: "a=1" };
    const answer = await self.call("/proxy/lab/lab/headers/0", { token, headers });
    const exposed = answer.headers.get("access-control-expose-headers")!.toLowerCase().split(", ");
    for (const name of [
      "etag",
      "x-ratelimit-remaining",
      "x-agentauth-upstream",
      "x-agentauth-dropped",
      "retry-after",
    ]) {
      expect(exposed).toContain(name);
    }
    expect(exposed).not.toContain("set-cookie");
  });
});
