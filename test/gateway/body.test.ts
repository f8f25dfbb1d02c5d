import { describe, expect, it } from "vitest";
import { checkedBody, LONGEST_CHECKED_BODY } from "../../src/gateway/body.ts";

const REFUSED = ["token", "inputs.associations"];

function check(body: BodyInit, type: string | null, covered = true, headers: Record<string, string> = {}) {
  const request = new Request("https://gateway.example", { method: "POST", body, headers });
  if (type !== null) request.headers.set("content-type", type);
  else request.headers.delete("content-type");
  return checkedBody(request, REFUSED, covered);
}

const json = (text: string) => check(text, "application/json");
const form = (text: string) => check(text, "application/x-www-form-urlencoded");
const part = (header: string) =>
  check(
    `--b\r\nContent-Disposition: form-data; ${header}\r\n\r\nvalue\r\n--b--\r\n`,
    "multipart/form-data; boundary=b",
  );
const refusal = (parameter: string) => ({ code: "parameter_refused", parameter });

describe("a body whose keys are looked at", () => {
  it("passes where it holds none that is refused", async () => {
    expect(await json('{"text":"token","nested":{"token":1}}')).toEqual({
      body: '{"text":"token","nested":{"token":1}}',
    });
    expect(await form("channel=C1&text=token%3D1")).toHaveProperty("body");
    expect(await part('name="text"')).toHaveProperty("body");
    expect(await check("", null)).toEqual({ body: null });
  });

  it.each(['{"token":"xoxb"}', '{"TOKEN":1}', '{"to\\u006ben":1}', '{" token ":1}', '[{"token":1}]', '{"token":null}'])(
    "finds the key in %s",
    async (text) => {
      expect(await json(text)).toEqual(refusal("token"));
    },
  );

  it("finds a key below another, through arrays", async () => {
    expect(await json('{"inputs":[{"id":1},{"associations":[{"to":1}]}]}')).toEqual(refusal("inputs.associations"));
    expect(await json('{"associations":[1],"inputs":[{"associations":[]}]}')).toHaveProperty("body");
  });

  it("sends JSON as it was understood: of two equal keys the one that was looked at", async () => {
    expect(await json('{"inputs":[{"associations":[1]}],"inputs":[]}')).toEqual({ body: '{"inputs":[]}' });
  });

  it("keeps every digit of a number", async () => {
    const text = '{"id":12345678901234567890,"price":1.10,"far":1e400}';
    expect(await json(text)).toEqual({ body: text });
  });

  it.each([
    "token=1",
    "a=1&token=1",
    "a=1;token=1",
    "%74oken=1",
    "token[]=1",
    "Token=1",
    " token=1",
    "+token=1",
    "token",
  ])("finds the field in the form %s", async (text) => {
    expect(await form(text)).toEqual(refusal("token"));
  });

  it.each(['name="token"', "name=token", 'NAME = "to\\ken"', 'name="token[]"', 'filename="x"; name="token"'])(
    "finds the part %s",
    async (header) => {
      expect(await part(header)).toEqual(refusal("token"));
    },
  );

  it("refuses what it cannot read", async () => {
    expect(await part("name*=utf-8''to%6ben")).toEqual({ code: "bad_body" });
    expect(await json("{")).toEqual({ code: "bad_body" });
    expect(await check(new Uint8Array([0x22, 0xff, 0x22]), "application/json")).toEqual({ code: "bad_body" });
    expect(await form("%zz=1")).toEqual({ code: "bad_body" });
    expect(await check("{}", "text/plain")).toEqual({ code: "body_type_refused" });
    expect(await check("{}", "application/json; charset=utf-16")).toEqual({ code: "body_type_refused" });
    expect(await check("{}", "application/json", true, { "content-encoding": "gzip" })).toEqual({
      code: "body_type_refused",
    });
  });

  it("leaves other kinds alone beyond the catalogue, and forms and JSON nowhere", async () => {
    expect(await check(new Uint8Array([1, 2]), "image/png", false)).toHaveProperty("body");
    expect(await check('{"token":1}', "application/json", false)).toEqual(refusal("token"));
  });

  it("is refused where it breaks off", async () => {
    const broken = new ReadableStream({ pull: (controller) => controller.error(new Error("lost")) });
    expect(await check(broken, "application/json")).toEqual({ code: "bad_body" });
  });

  it("is bounded, whether or not a length is told", async () => {
    const long = "x".repeat(LONGEST_CHECKED_BODY + 1);
    expect(await check(long, "application/json")).toEqual({ code: "body_too_large" });
    expect(await check(new Blob([long]).stream(), "application/json")).toEqual({ code: "body_too_large" });
  });
});
