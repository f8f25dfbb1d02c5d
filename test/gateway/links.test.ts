import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linkRewriter } from "../../src/gateway/links.ts";

const POINTERS = ["/next_page", "/links/next", "/paging/next/link", "/odd~1key"];
const rewrite = (url: string) => url.replace("https://upstream.example", "https://gateway.example/proxy/lab");

/** Sends a text through, cut into pieces of these sizes. */
async function through(text: string, sizes: readonly number[] = [text.length]): Promise<string> {
  const bytes = new TextEncoder().encode(text);
  const source = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = Math.max(1, sizes[i % sizes.length]!);
        controller.enqueue(bytes.slice(at, at + size));
        at += size;
      }
      controller.close();
    },
  });
  return new Response(source.pipeThrough(linkRewriter(POINTERS, rewrite))).text();
}

const UP = "https://upstream.example/page/2";
const HERE = "https://gateway.example/proxy/lab/page/2";

describe("links in an answer", () => {
  it("lead through the gateway where a pointer names them", async () => {
    expect(await through(`{"next_page" : "${UP}", "links":{"prev":"${UP}","next":"${UP}"}}`)).toBe(
      `{"next_page" : "${HERE}", "links":{"prev":"${UP}","next":"${HERE}"}}`,
    );
    expect(await through(`{"paging":{"next":{"after":"1","link":"${UP}"}},"odd/key":"${UP}"}`)).toBe(
      `{"paging":{"next":{"after":"1","link":"${HERE}"}},"odd/key":"${HERE}"}`,
    );
    expect(await through(`{"n\\u0065xt_page":"${UP.replaceAll("/", "\\/")}"}`)).toBe(`{"n\\u0065xt_page":"${HERE}"}`);
  });

  it.each([
    `{"items":[{"next_page":"${UP}"}],"deep":{"next_page":"${UP}"},"links":["next","${UP}"]}`,
    `{"links":{"other":{"next":"${UP}"}},"text":"\\"next_page\\":\\"${UP}\\""}`,
    `["next_page","${UP}"]`,
    `{"next_page":null,"links":{"next":7}}`,
    `{"next_page":"${UP}`,
    "not JSON at all",
    "",
  ])("stay where none does: %s", async (text) => {
    expect(await through(text)).toBe(text);
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
    await fc.assert(
      fc.asyncProperty(value, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), async (json, sizes) => {
        const text = JSON.stringify(json, null, 1);
        expect(await through(text, sizes)).toBe(JSON.stringify(expected(json), null, 1));
      }),
      { numRuns: 300 },
    );
  });

  it("stream: an answer that has not ended has arrived as far as it came", async () => {
    const { readable, writable } = linkRewriter(POINTERS, rewrite);
    const writer = writable.getWriter();
    const reader = readable.getReader();
    void writer.write(new TextEncoder().encode('{"items":[1,2,'));
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('{"items":[1,2,');
    const long = `{"a":"${"x".repeat(100_000)}"}`;
    expect(await through(`{"next_page":"${"x".repeat(100_000)}","b":${long}}`, [1000])).toContain("xxx");
  });
});
