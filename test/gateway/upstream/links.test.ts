import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linkRewriter } from "../../../src/gateway/upstream/links.ts";
import { resolveLink } from "../../../src/gateway/upstream/upstream-link.ts";
import type { BodyLinks } from "../../../src/policy/body-links.ts";
import { SLOW, few } from "../../support/extents.ts";

const POINTERS = ["/next_page", "/links/next", "/paging/next/link", "/odd~1key"];
const POINTED: BodyLinks = { rewritten: POINTERS, removed: [] };
const NAMED: BodyLinks = { rewritten: ["/next_page", "url", "*_url"], removed: ["upload_url", "thumb_*"] };
const scope = (basePath = "") => ({
  service: { name: "lab", basePath },
  fetched: new URL(`https://upstream.example${basePath}/page/1`),
  gatewayOrigin: "https://gateway.example",
  issuer: "https://auth.example",
});

/** Sends a text through, cut into pieces of these sizes. */
function through(text: string, sizes: readonly number[] = [text.length], rules = POINTED, basePath = ""): string {
  const bytes = new TextEncoder().encode(text);
  const links = linkRewriter(rules, scope(basePath));
  const passed: Uint8Array[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length]!);
    passed.push(links.push(bytes.slice(at, at + size)));
    at += size;
  }
  const rewritten = new TextDecoder().decode(joined([...passed, links.rest()]));
  // An answer that has arrived whole is not read if it cannot have such a link.
  expect(new TextDecoder().decode(linkRewriter(rules, scope(basePath)).whole(bytes))).toBe(rewritten);
  return rewritten;
}

const joined = (pieces: readonly Uint8Array[]) => Uint8Array.from(pieces.flatMap((piece) => [...piece]));

const UP = "https://upstream.example/page/2";
const HERE = "https://gateway.example/proxy/lab/page/2";

describe("links in an answer", () => {
  it("lead through the gateway where a pointer names them", async () => {
    expect(through(`{"next_page" : "${UP}", "links":{"prev":"${UP}","next":"${UP}"}}`)).toBe(
      `{"next_page" : "${HERE}", "links":{"prev":"${UP}","next":"${HERE}"}}`,
    );
    expect(through(`{"paging":{"next":{"after":"1","link":"${UP}"}},"odd/key":"${UP}"}`)).toBe(
      `{"paging":{"next":{"after":"1","link":"${HERE}"}},"odd/key":"${HERE}"}`,
    );
    expect(through(`{"n\\u0065xt_page":"${UP.replaceAll("/", "\\/")}"}`)).toBe(`{"n\\u0065xt_page":"${HERE}"}`);
  });

  it.each([
    `{"items":[{"next_page":"${UP}"}],"deep":{"next_page":"${UP}"},"links":["next","${UP}"]}`,
    `{"links":{"other":{"next":"${UP}"}},"text":"\\"next_page\\":\\"${UP}\\""}`,
    `["next_page","${UP}"]`,
    `{"next_page":null,"links":{"next":7}}`,
    `{"next_page":"${UP}`,
    "not JSON at all",
    "",
  ])("stay where none does: %s", (text) => {
    expect(through(text)).toBe(text);
  });

  it("are the only thing that changes, wherever the answer is cut", async () => {
    const value = fc.letrec<{ any: unknown }>((tie) => ({
      any: fc.oneof(
        { depthSize: "small" },
        fc.constantFrom(UP, null, 1.5, true, 'quo"te\\', "é∑😀"),
        fc.string(),
        fc.array(tie("any"), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom("next_page", "links", "next", "paging", "link", "odd/key", 'a"b'), tie("any"), {
          maxKeys: 4,
        }),
      ),
    })).any;
    const expected = (json: unknown) => {
      const copy = structuredClone(json);
      for (const pointer of POINTERS) {
        const keys = pointer
          .slice(1)
          .split("/")
          .map((key) => key.replaceAll("~1", "/"));
        const last = keys.pop()!;
        let at = copy as Record<string, unknown> | undefined;
        for (const key of keys) at = at && !Array.isArray(at) ? (at[key] as never) : undefined;
        if (at && typeof at === "object" && !Array.isArray(at) && typeof at[last] === "string" && at[last] !== "")
          at[last] = resolveLink(at[last], scope()) ?? "about:invalid";
      }
      return copy;
    };
    fc.assert(
      fc.property(value, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (json, sizes) => {
        const text = JSON.stringify(json, null, 1);
        expect(through(text, sizes)).toBe(JSON.stringify(expected(json), null, 1));
      }),
      { numRuns: 300 },
    );
  });

  it("stream: what has not ended has arrived as far as it came", () => {
    const { push } = linkRewriter(POINTED, scope());
    const sent = '{"items":[1,2,';
    expect(new TextDecoder().decode(push(new TextEncoder().encode(sent)))).toBe(sent);
  });

  it("are found in an answer that is there whole, however their names are written and wherever they stand", () => {
    const filler = "x".repeat(5000);
    for (const [rules, name] of [
      [NAMED, "url"],
      [NAMED, "\\u0075rl"],
      [NAMED, "a\\u005Furl"],
      [NAMED, "nex\\u0074_page"],
      [{ rewritten: ["/next"], removed: [] }, "next"],
      [{ rewritten: ["/next"], removed: [] }, "\\u006E\\u0065\\u0078\\u0074"],
      [{ rewritten: ["/a~1b"], removed: [] }, "a\\/b"],
      [{ rewritten: ["*"], removed: [] }, "anything"],
    ] as const) {
      expect(through(`{"a":"${filler}","${name}":"${UP}"}`, [1 << 20], rules)).toBe(
        `{"a":"${filler}","${name}":"${HERE}"}`,
      );
    }
    const none = new TextEncoder().encode(`{"text":"${filler}","curl\\u01":"${UP}"}`);
    expect(linkRewriter({ rewritten: ["/next"], removed: ["identity"] }, scope()).whole(none)).toBe(none);
  });

  it("are not looked for in a text that is too long to be one", () => {
    const long = JSON.stringify({ next_page: "x".repeat(100_000), [`${"k".repeat(50_000)}`]: UP, links: { next: UP } });
    expect(through(long, [1000])).toBe(
      long.replace(`"next":"${UP}"`, `"next":"${HERE}"`).replace("x".repeat(100_000), "about:invalid"),
    );
  });

  few(2).each([
    ["is not passed on", '"https://gateway.example/agents"'],
    ["is longer than one may be", `"${" ".repeat(20_000)}https://gateway.example/agents"`],
    ["is longer than one may be, in escapes", `"${"\\u0020".repeat(3000)}https://gateway.example/agents"`],
    ["is no JSON string", '"https://\ngateway.example/agents"'],
    ["holds an escape that JSON has not", '"https://\\x67ateway.example/agents"'],
  ])("become one that no client can call where the link %s", (_, text) => {
    for (const sizes of [[1 << 20], [7], [1000]]) {
      expect(through(`{"next_page": ${text}, "links":{"next":"${UP}"}}`, sizes)).toBe(
        `{"next_page": "about:invalid", "links":{"next":"${HERE}"}}`,
      );
    }
  });

  it("stay empty where the link is empty", () => {
    expect(through('{"next_page":"","links":{"next":null}}')).toBe('{"next_page":"","links":{"next":null}}');
  });
});

/** The answer whose only member has this name and this value, written as JSON. */
const member = (value: string, name = "url", basePath = "") =>
  through(`{"${name}":${value}}`, [7], NAMED, basePath).slice(`{"${name}":`.length, -1);

describe("links that have a name, at any depth", () => {
  it("lead through the gateway where they lead to the API, and stay otherwise", () => {
    const answer = (up: string) =>
      `[{"url":"${up}","id":12345678901234567890,"text":"${UP}","user":{"url":"${up}","html_url":"https://web.example/o"},
      "labels":[{"url" : "${up}","url":"${up}","x":1.50,"y":1E5}],"urls":["${UP}"],"next_page":"${UP}","curl":"${UP}"}]`;
    expect(through(answer(UP), [5], NAMED)).toBe(answer(HERE));
  });

  it.each([
    ["https://upstream.example/repos/o/r{/sha}", "https://gateway.example/proxy/lab/repos/o/r{/sha}"],
    [
      "https://upstream.example/repos/o/r/contents/{+path}",
      "https://gateway.example/proxy/lab/repos/o/r/contents/{+path}",
    ],
    [
      "https://upstream.example/repos/o/r/compare/{base}...{head}",
      "https://gateway.example/proxy/lab/repos/o/r/compare/{base}...{head}",
    ],
    [
      "https://upstream.example/search?q={query}{&page,per_page}",
      "https://gateway.example/proxy/lab/search?q={query}{&page,per_page}",
    ],
    ["https://upstream.example/n{?since,all}", "https://gateway.example/proxy/lab/n{?since,all}"],
    ["https://upstream.example{/path}", "https://gateway.example/proxy/lab{/path}"],
  ])("keep the expressions of a URI template: %s", (template, expected) => {
    expect(member(JSON.stringify(template))).toBe(JSON.stringify(expected));
  });

  it.each([
    "https://upstream.example/{x}/../../agents",
    "https://upstream.example/{x}../../../agents",
    "https://upstream.example/{x}..{y}/..{z}/agents",
    "https://upstream.example/{x}/%2e%2e/agents",
    "https://upstream.example//{x}",
    "https://upstream.example/{x",
    "https://upstream.example/{x}\\..\\agents",
    "https://user@upstream.example/x",
    "https://upstream.example/x//",
    "https://upstream.example/..%2fx",
    "https:\\\\upstream.example/x",
    "https:/\t/upstream.example/x",
    "https://gateway.example/agents",
    "https://gateway.example{/x}",
    "https://auth.example./agents",
    "https://upstream.example/../x/..;/agents",
    "x/../..;/agents",
    "https:\\/\\/gateway.example/agents",
  ])(
    "become one that no client can call where the gateway would refuse it, or the upstream names the gateway: %s",
    (text) => {
      expect(member(`"${text}"`)).toBe('"about:invalid"');
    },
  );

  it.each([
    "https://web.example/o/r",
    "http://web.example/o//r/../x",
    "https://user:secret@web.example/x",
    "https://upstream.example.evil.example/x",
    "https://upstream.example:8443/x",
    "git@web.example:o/r.git",
    "git://upstream.example/o/r.git",
    "data:text/html,https://upstream.example",
    "https:\\/\\/web.example\\/x",
    "https://web.example{/x}",
    "not a link",
    "",
  ])("stay byte for byte where they do not lead to the API: %s", (text) => {
    expect(member(`"${text}"`)).toBe(`"${text}"`);
  });

  it.each([
    ['"https:\\/\\/upstream.example\\/page\\/2"', `"${HERE}"`],
    ['"https://upstream.ex\\u0061mple/page/2"', `"${HERE}"`],
    ['"HTTPS://UPSTREAM.EXAMPLE:443/page/2"', `"${HERE}"`],
    ['"../../agents"', '"https://gateway.example/proxy/lab/agents"'],
    ['"x/%2E./%2e%2e/../agents"', '"https://gateway.example/proxy/lab/agents"'],
    ['"/page/2?a=%2F#b"', '"/proxy/lab/page/2?a=%2F#b"'],
    ['"https://upstream.example/a%7Eb/\u00fc"', '"https://gateway.example/proxy/lab/a~b/%C3%BC"'],
    ['"https://upstream.example/page/2?a=%2F%zz&b={c}"', '"https://gateway.example/proxy/lab/page/2?a=%2F%zz&b={c}"'],
  ])("lead through the gateway however they are written: %s", (text, expected) => {
    expect(member(text)).toBe(expected);
    expect(member(text, "\\u0075r\\u006C")).toBe(expected);
  });

  it("are matched by whole segments of the base path", () => {
    const base = "https://upstream.example/api/v3";
    expect(member(`"${base}/o"`, "url", "/api/v3")).toBe('"https://gateway.example/proxy/lab/o"');
    // What is relative becomes absolute: at the gateway's origin it would be a path of the gateway's own.
    for (const text of ["/agents", "/api/v3x", "https:/agents", "https:../../agents", "../../agents"]) {
      expect(member(`"${text}"`, "url", "/api/v3"), text).toMatch(
        /^"https:\/\/upstream\.example\/(?:agents|api\/agents|api\/v3x)"$/,
      );
    }
    // A template has to name its host.
    for (const text of ["/agents{/id}", "//{x}gateway.example/agents", "https://gate{x}way.example/", "{/x}"]) {
      expect(member(`"${text}"`, "url", "/api/v3"), text).toBe('"about:invalid"');
    }
    for (const text of ["https://upstream.example/o", `${base}x/o`, "https://upstream.example/api/v3/../o"]) {
      expect(member(`"${text}"`, "url", "/api/v3")).toBe(`"${text}"`);
    }
  });

  it("are not looked for in another scheme's text, however long, nor deeper than parsers go", SLOW, () => {
    const image = JSON.stringify(`data:image/png;base64,${"A".repeat(50_000)}`);
    expect(member(image)).toBe(image);
    const long = `"https://upstream.example/${"x".repeat(50_000)}"`;
    expect([member(long), through(`{"url":${long}}`, [1 << 20], NAMED)]).toEqual([
      '"about:invalid"',
      '{"url":"about:invalid"}',
    ]);
    const deep = `${'{"a":['.repeat(5000)}{"url":"${UP}"}${"]}".repeat(5000)}`;
    expect(through(`[${deep},{"url":"${UP}"}]`, [1 << 20], NAMED)).toBe(`[${deep},{"url":"${HERE}"}]`);
  });
});

describe("links that a client would follow with its token", () => {
  it.each([
    ["upload_url", "https://uploads.example/assets{?name,label}", "about:invalid#agentauth-removed=uploads.example"],
    ["upload_url", "https://user@uploads.example:8443/", "about:invalid#agentauth-removed=uploads.example:8443"],
    ["thumb_64", "https:\\/\\/files.example\\/x", "about:invalid#agentauth-removed=files.example"],
    ["upload_url", "https://upstream.example/o{?name}", "https://gateway.example/proxy/lab/o{?name}"],
    ["upload_url", "https://gateway.example/agents", "about:invalid"],
    ["thumb_tiny", "AwAiADCk", "AwAiADCk"],
    ["upload_url", "", ""],
  ])("are removed where they lead to another host: %s %s", (name, text, expected) => {
    expect(member(`"${text}"`, name)).toBe(`"${expected}"`);
  });

  it("say so by a link that has no host", () => {
    expect(new URL("about:invalid#agentauth-removed=uploads.example").host).toBe("");
  });
});

it("whatever else is in an answer stays byte for byte, wherever it is cut, and no named link to the API is left", () => {
  const link = fc.constantFrom(
    UP,
    HERE,
    "https://web.example/x",
    "/a",
    "x",
    `${UP}{?a}`,
    `${UP}/..`,
    '\\"',
    "é😀",
    "\u2028",
  );
  const value = fc.letrec<{ any: unknown }>((tie) => ({
    any: fc.oneof(
      { depthSize: "small" },
      link,
      fc.constantFrom(null, 1.5, true),
      fc.array(tie("any"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom("next_page", "url", "a_url", "curl", "upload_url", 'a"_url'), tie("any"), {
        maxKeys: 4,
      }),
    ),
  })).any;
  const withoutLinks = (json: unknown): unknown => {
    if (Array.isArray(json)) return json.map(withoutLinks);
    if (typeof json !== "object" || json === null) return json;
    return Object.fromEntries(
      Object.entries(json).map(([name, inner]) => {
        const isLink = /^next_page$|(^|_)url$/.test(name) && typeof inner === "string";
        if (isLink) expect(inner).not.toMatch(/^https:\/\/upstream\.example/);
        return [name, isLink ? "" : withoutLinks(inner)];
      }),
    );
  };
  const withoutAnyLinks = (json: unknown): unknown => {
    if (Array.isArray(json)) return json.map(withoutAnyLinks);
    if (typeof json !== "object" || json === null) return json;
    return Object.fromEntries(
      Object.entries(json).map(([name, inner]) => [
        name,
        /^next_page$|(^|_)url$/.test(name) && typeof inner === "string" ? "" : withoutAnyLinks(inner),
      ]),
    );
  };
  fc.assert(
    fc.property(value, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (json, sizes) => {
      const text = JSON.stringify({ root: [json] });
      const passed = through(text, sizes, { ...NAMED, rewritten: ["url", "*_url", "next_page"] });
      expect(passed).toBe(through(text, [text.length * 4], { ...NAMED, rewritten: ["url", "*_url", "next_page"] }));
      expect(withoutLinks(JSON.parse(passed))).toEqual(withoutAnyLinks(JSON.parse(text)));
    }),
    { numRuns: 300 },
  );
});
