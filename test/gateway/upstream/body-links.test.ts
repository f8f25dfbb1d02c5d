import { beforeAll, describe, expect, it } from "vitest";
import { inject } from "vitest";
import { LAB, world, type World } from "../../support/world.ts";
import { SLOW, few } from "../../support/extents.ts";

const GATEWAY = "https://auth.example.com/proxy";
let worlds: Record<"plain" | "linked", World>;
let token: string;

beforeAll(async () => {
  const base_url = inject("upstream");
  const lab = { base_url, ...LAB, body_links: ["/next", "*_url"], removed_links: ["upload_url"] };
  const salesforce = { base_url, credential: { scheme: "none" } };
  worlds = { plain: world({ "UPSTREAMS.salesforce": salesforce }), linked: world({ "UPSTREAMS.lab": lab }) };
  ({ token } = await worlds.plain.agent(["lab:*:*", "github:*:*", "salesforce:*:*"]));
});

interface Asked {
  readonly links?: string;
  readonly service?: string;
  readonly in?: keyof typeof worlds;
}

/** What the agent gets where the upstream answers with this text, in which UPSTREAM is its origin. */
async function answered(text: string, query = "", { links, service = "lab", in: where = "linked" }: Asked = {}) {
  const path = btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const { fetch } = worlds[where];
  const headers = links === undefined ? {} : { "x-agentauth-links": links };
  const response = await fetch(`/proxy/${service}/lab/json/${path}${query}`, { token, headers });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

const linked = (up: string) =>
  `{"next":"${up}/things?page=2","a_url":"${up}/things/1{/part}","n":1.0,"n":12345678901234567890}`;

describe("links in a JSON answer", () => {
  it.each(["", "?chunked", "?gzip", "?gzip&chunked", "?type=application/hal%2Bjson"])(
    "lead through the gateway, and every other byte stays: %s",
    async (query) => {
      const { headers, text } = await answered(linked("UPSTREAM"), query);
      expect(text).toBe(linked(`${GATEWAY}/lab`));
      expect(headers.get("x-agentauth-links")).toBe("rewritten");
      expect(headers.get("vary")).toContain("X-AgentAuth-Links");
      expect(headers.get("digest")).toBeNull();
      if (headers.has("content-length")) expect(Number(headers.get("content-length"))).toBe(text.length);
    },
  );

  it.each(["?times=10000", "?times=10000&gzip", "?times=10000&chunked"])(
    "do so in megabytes: %s",
    SLOW,
    async (query) => {
      const { text } = await answered(linked("UPSTREAM"), query);
      expect(text).toBe(
        `[${Array(10_000)
          .fill(linked(`${GATEWAY}/lab`).replace(`${GATEWAY}/lab/things?`, `${inject("upstream")}/things?`))
          .join()}]`,
      );
    },
  );

  it.each(["?type=text/plain", "?type=application/vnd.github.raw%2Bjson", "?type=application/octet-stream"])(
    "stay in what is no JSON of the API: %s",
    async (query) => {
      const { headers, text } = await answered(linked("UPSTREAM"), query);
      expect(text).toBe(linked(inject("upstream")));
      expect([headers.get("x-agentauth-links"), headers.get("digest")]).toEqual([null, "sha-256=of-these-bytes"]);
    },
  );

  it("stay for a client that keeps them, and for a service that has none", async () => {
    const original = linked(inject("upstream"));
    const kept = await answered(linked("UPSTREAM"), "", { links: "keep" });
    expect([kept.text, kept.headers.get("x-agentauth-links")]).toEqual([original, null]);
    expect((await answered(linked("UPSTREAM"), "", { in: "plain" })).text).toBe(original);
  });

  it("lead through the gateway for a client that asks, by the names that links usually have", async () => {
    const text = (up: string) =>
      `{"next":"${up}/things?page=2","deep":[{"href":"${up}/a","self":"${up}/b","name":"${up}/c"}]}`;
    const asked = await answered(text("UPSTREAM"), "", { links: "rewrite", in: "plain" });
    expect(asked.text.replace(inject("upstream"), `${GATEWAY}/lab`)).toBe(text(`${GATEWAY}/lab`));
  });

  it("that lead to another host are removed where clients would send their token, unless they ask for it", async () => {
    const text = `{"upload_url":"https://files.example/upload","a_url":"https://files.example/a"}`;
    expect((await answered(text)).text).toBe(
      `{"upload_url":"about:invalid#agentauth-removed=files.example","a_url":"https://files.example/a"}`,
    );
    expect((await answered(text, "", { links: "keep" })).text).toBe(text);
  });

  few(1).each(["", "?times=3000", "?times=3000&chunked"])(
    "are rewritten and removed before the credential is looked for: the search sees what the agent gets, %s",
    async (query) => {
      const secret = worlds.plain.env.UPSTREAM_LAB_TOKEN;
      const removed = `{"upload_url":"https://files.example/upload?token=${secret}","n":1}`;
      const passed = await answered(removed, query);
      expect([passed.status, passed.text.includes(secret)]).toEqual([200, false]);
      expect(passed.text).toMatch(/"n":1\}\]?$/);
      // In a link that leads through the gateway it is found, whole or in escapes that only the link's parser takes away.
      for (const link of [`UPSTREAM/things?key=${secret}`, `UPSTREAM/things/${secret.replaceAll("-", "%2D")}`]) {
        const leaking = answered(`{"a_url":"${link}"}`, query);
        if (query === "") expect(JSON.parse((await leaking).text).code).toBe("credential_echo");
        else await expect(leaking).rejects.toThrow();
      }
    },
  );

  it.each(["", "Rewrite", "rewrite, keep", "yes"])(
    "are not changed by a header that says %j: it is refused",
    async (links) => {
      const { status, text } = await answered(linked("UPSTREAM"), "", { links });
      expect([status, JSON.parse(text).code]).toEqual([400, "bad_links_header"]);
    },
  );
});

it("GitHub's objects lead through the gateway by themselves", async () => {
  const text = (up: string) =>
    `[{"url":"${up}/repos/o/r","user":{"url":"${up}/users/o","html_url":"https://github.com/o"},"commits_url":"${up}/repos/o/r/commits{/sha}"}]`;
  expect((await answered(text("UPSTREAM"), "", { service: "github" })).text).toBe(text(`${GATEWAY}/github`));
});

describe("Salesforce's links from the root of its host", () => {
  const NEXT = "/services/data/v61.0/query/01g-1";
  const records = `{"done":false,"nextRecordsUrl":"${NEXT}","records":[{"attributes":{"url":"/services/data/v61.0/x"}}]}`;
  const INSTANCE = `${GATEWAY}/salesforce`;

  it.each([
    // https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/dome_query.htm: "append it to the instance URL"
    ["the documentation", undefined, (next: string) => INSTANCE + next],
    // https://github.com/simple-salesforce/simple-salesforce, api.py, query_more: f"https://{self.sf_instance}{next_records_identifier}"
    ["simple-salesforce", undefined, (next: string) => `https://${INSTANCE.slice("https://".length)}${next}`],
    // https://github.com/simpleforce/simpleforce, force.go, Query: a text that begins with /services/data is behind the instance URL
    ["simpleforce", undefined, (next: string) => (next.startsWith("/services/data") ? INSTANCE + next : "")],
    // https://github.com/jsforce/jsforce, query.ts, urlToLocator: the last segment
    ["jsforce", undefined, (next: string) => `${INSTANCE}/services/data/v61.0/query/${next.split("/").at(-1)}`],
    ["a client that resolves it (RFC 3986)", "rewrite", (next: string) => new URL(next, INSTANCE).href],
  ])("lead %s to the next page", async (_, links, follow) => {
    const first = await answered(records, "", { service: "salesforce", in: "plain", ...(links && { links }) });
    const url = follow(JSON.parse(first.text).nextRecordsUrl);
    const second = await worlds.plain.call(url, { token });
    expect([second.status, second.body.url]).toEqual([200, NEXT]);
  });
});
