import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linkRewriter } from "../../../src/gateway/upstream/links.ts";

const POINTERS = ["/next_page", "/links/next", "/paging/next/link", "/odd~1key"];
const rewrite = (url: string) =>
  url.startsWith("https://gateway.example")
    ? undefined
    : url.replace("https://upstream.example", "https://gateway.example/proxy/lab");

/** Sends a text through, cut into pieces of these sizes. */
function through(text: string, sizes: readonly number[] = [text.length]): string {
  const bytes = new TextEncoder().encode(text);
  const links = linkRewriter(POINTERS, rewrite);
  const passed: Uint8Array[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length]!);
    passed.push(...links.push(bytes.slice(at, at + size)));
    at += size;
  }
  return new TextDecoder().decode(joined([...passed, links.rest()]));
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
        if (at && typeof at === "object" && !Array.isArray(at) && at[last] === UP) at[last] = HERE;
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
    const { push } = linkRewriter(POINTERS, rewrite);
    const sent = '{"items":[1,2,';
    expect(new TextDecoder().decode(joined(push(new TextEncoder().encode(sent))))).toBe(sent);
  });

  it("are not looked for in a text that is too long to be one", () => {
    const long = JSON.stringify({ next_page: "x".repeat(100_000), [`${"k".repeat(50_000)}`]: UP, links: { next: UP } });
    expect(through(long, [1000])).toBe(
      long.replace(`"next":"${UP}"`, `"next":"${HERE}"`).replace("x".repeat(100_000), "about:invalid"),
    );
  });

  it.each([
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
