import { describe, expect, it } from "vitest";
import { bodyTreatment, checkBody, MAX_CHECKED_BODY, type BodyRules } from "../../src/policy/body.ts";
import { bodyRules } from "../../src/policy/body-rules.ts";
import { contentCoding } from "../../src/policy/content-coding.ts";
import { formatMediaType } from "../../src/policy/media-type.ts";
import { watchNames } from "../../src/policy/parameter-name.ts";
import { loadServices } from "../../src/policy/services.ts";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { receiveBody } from "../../src/gateway/request-body.ts";

const RULES: BodyRules = {
  forms: watchNames(["_method", "access_token"]),
  keys: ["token", "inputs.associations", "filters.name=associations", "properties=associations"],
  isCovered: true,
  isFile: false,
};
const { services } = loadServices(new Map(), BUILT_IN_CATALOGUE);
const FORM = "application/x-www-form-urlencoded";
const MULTIPART = "multipart/form-data; boundary=b";

/** As the gateway does it, without asking who sends the body. */
async function bodyToSend({ headers, body }: Request, rules: BodyRules) {
  if (!body) return { body: null, contentType: undefined };
  const treatment = bodyTreatment(headers, rules);
  if ("kind" in treatment && treatment.kind === "stream") {
    return { body, contentType: formatMediaType(treatment.type) };
  }
  const received = await receiveBody(body, { idleMs: 10_000, totalMs: 10_000 });
  if ("bytes" in received) return checkBody(received.bytes, treatment, rules);
  if (received.fault instanceof Error) throw received.fault;
  return received.fault;
}

async function check(
  body: BodyInit,
  type: string | null,
  { rules = RULES, headers = {} }: { rules?: BodyRules; headers?: Record<string, string> } = {},
) {
  const request = new Request("https://gateway.example", { method: "POST", body, headers });
  if (type !== null) request.headers.set("content-type", type);
  else request.headers.delete("content-type");
  const sent = await bodyToSend(request, rules);
  if ("code" in sent) return sent;
  const text = sent.body === null ? null : await new Response(sent.body).text();
  return { text, type: sent.contentType };
}

const json = (text: string) => check(text, "application/json");
const form = (text: string) => check(text, FORM);
const sentJson = (text: string) => ({ text, type: "application/json" });
const sentForm = (text: string) => ({ text, type: FORM });
const refusal = (parameter: string) => ({ code: "parameter_refused", parameter });
const bad = { code: "bad_body", reason: expect.any(String) };

describe("JSON under the type of a form", () => {
  it("may have no name that a form may not have", async () => {
    expect(await form('{"item":"x","_method":"DELETE"}')).toEqual(refusal("_method"));
    expect(await form('{"item":"x","Access.Token":1}')).toEqual(refusal("access_token"));
    expect(await form('{"item":{"_method":1}}')).toEqual(sentJson('{"item":{"_method":1}}'));
  });
});

describe("JSON whose keys are looked at", () => {
  it("passes where it holds none that is refused", async () => {
    const text = '{"text":"token","nested":{"token":1},"tokens":1,"_method":"DELETE"}';
    expect(await json(text)).toEqual(sentJson(text));
    expect(await check("", null)).toEqual({ text: null, type: undefined });
    for (const nothing of [
      "null",
      "5",
      '"token"',
      '[1,null,"token"]',
      '{"inputs":null}',
      '{"filters":"associations"}',
      '{"filters":{"0":{"name":"id","values":[null,5,true,"x"]}}}',
      '{"filters":[{"name":null},{"name":5}]}',
      '{"token_type[]":1}',
    ]) {
      expect(await json(nothing)).toEqual(sentJson(nothing));
    }
    expect(await json("\ufeff{}")).toEqual(sentJson("{}"));
  });

  it.each([
    '{"token":"xoxb"}',
    '{"TOKEN":1}',
    '{"to\\u006ben":1}',
    '{" token ":1}',
    '{"token\\u0000x":1}',
    '{"token[]":1}',
    '{"ｔoken":1}',
    '[{"token":1}]',
    '{"token":null}',
  ])("finds the key in %s", async (text) => {
    expect(await json(text)).toEqual(refusal("token"));
  });

  it("takes null for nothing where a key names something, and not where it is refused", () => {
    const rules = {
      forms: watchNames([]),
      keys: ["token", "associations"],
      nullable: ["associations"],
      isCovered: true,
      isFile: false,
    };
    const checked = (text: string) => {
      const bytes = new TextEncoder().encode(text).buffer as ArrayBuffer;
      return checkBody(bytes, bodyTreatment(new Headers({ "content-type": "application/json" }), rules), rules);
    };
    expect(checked('{"associations":null}')).toMatchObject({ body: '{"associations":null}' });
    expect(checked('{"token":null}')).toEqual(refusal("token"));
    expect(checked('{"associations":[null]}')).toEqual(refusal("associations"));
  });

  it.each(["Identity", "identity, IDENTITY", "utf-8", ""])("is read under the coding %j, which is none", (coding) => {
    const rules = { forms: watchNames([]), keys: ["token"], isCovered: true, isFile: false };
    const headers = new Headers({ "content-type": "application/json; charset=utf8", "content-encoding": coding });
    expect(bodyTreatment(headers, rules)).toMatchObject({ kind: "json" });
  });

  it.each(["GZIP", "x-gzip", "deflate", "utf-8, br", "snappy"])("is refused under the coding %s", (coding) => {
    const rules = { forms: watchNames([]), keys: ["token"], isCovered: true, isFile: false };
    const headers = new Headers({ "content-type": "application/json", "content-encoding": coding });
    expect(bodyTreatment(headers, rules)).toMatchObject({ code: "body_type_refused" });
  });

  it("finds a key below another, through lists", async () => {
    expect(await json('{"inputs":[{"id":1},{"associations":[{"to":1}]}]}')).toEqual(refusal("inputs.associations"));
    const text = '{"associations":[1],"inputs":[{"associations":[]}]}';
    expect(await json(text)).toEqual(sentJson(text));
  });

  it.each(['{"inputs":{"0":{"associations":[1]}}}', '{"inputs":{"associations":[1]}}', '{"inputs":{"id":"1"}}'])(
    "takes no object for the list %s",
    async (text) => {
      expect(await json(text)).toEqual(refusal("inputs.associations"));
    },
  );

  it.each([
    '{"filters":[{"name":"id"},{"name":"associations.deal","value":1}]}',
    '{"filters":[{"NAME":["Associations.x"]}]}',
    '{"filters":{"0":{"name":"\\u0061ssociations"}}}',
    '{"filters":{"0":{"name":"associations","op":"EQ"}}}',
    '{"filters":{"0":{"op":"EQ","name":["id","associations"]}}}',
  ])("finds a word in the value of a key: %s", async (text) =>
    expect(await json(text)).toEqual(refusal("filters.name=associations")),
  );

  it("finds a word in a list of texts, and not in an object's values", async () => {
    expect(await json('{"properties":["id","associations.deal"]}')).toEqual(refusal("properties=associations"));
    for (const text of [
      '{"properties":{"note":"about associations"}}',
      '{"filters":[{"name":"id","value":"associations"}]}',
    ]) {
      expect(await json(text)).toEqual(sentJson(text));
    }
  });

  it("is sent as it was understood: of two equal keys the one that was looked at", async () => {
    expect(await json('{"inputs":[{"associations":[1]}],"inputs":[]}')).toEqual(sentJson('{"inputs":[]}'));
  });

  it("keeps every digit of a number, every key, and its type", async () => {
    const text = '{"id":12345678901234567890,"price":1.10,"far":1e400,"__proto__":{"a":1},"constructor":2}';
    expect(await json(text)).toEqual(sentJson(text));
    expect(await check("{}", 'Application/Vnd.Github+JSON;Charset="UTF-8"')).toEqual({
      text: "{}",
      type: "application/vnd.github+json; charset=UTF-8",
    });
  });

  it.each(["{", "nul", '{"a":1}x', "[".repeat(100_000) + "]".repeat(100_000), '{"a":'.repeat(50_000)])(
    "is refused where it cannot be read (%#)",
    async (text) => {
      expect(await json(text)).toEqual(bad);
    },
  );

  it("is refused where it is not UTF-8", async () => {
    expect(await check(new Uint8Array([0x22, 0xff, 0x22]), "application/json")).toEqual(bad);
  });
});

describe("a form", () => {
  it.each([
    "token=1",
    "a=1&token=1",
    "a=1;token=1",
    "%74oken=1",
    "token[]=1",
    "token[=1",
    "token.x=1",
    "[token]=1",
    "Token=1",
    " token=1",
    "+token=1",
    "token+=1",
    "!token=1",
    "\uFEFFtoken=1",
    "ｔoken=1",
    "token",
  ])("does not hold the key: %s", async (text) => {
    expect(await form(text)).toEqual(refusal("token"));
  });

  it.each([
    ["_method=DELETE", "_method"],
    ["_Method=DELETE", "_method"],
    ["[_method]=DELETE", "_method"],
    [".method=DELETE", "_method"],
    ["access_token=1", "access_token"],
    ["access.token=1", "access_token"],
    ["access[token=1", "access_token"],
    ["access%20token=1", "access_token"],
    ["inputs[0][associations]=1", "inputs.associations"],
  ])("does not hold what a form may not: %s", async (text, name) => {
    expect(await form(text)).toEqual(refusal(name));
  });

  it("is sent as it was parsed: nothing in a value separates", async () => {
    expect(await form("channel=C1&text=token%3D1")).toEqual(sentForm("channel=C1&text=token%3D1"));
    expect(await form("a=1;tokens=1")).toEqual(sentForm("a=1%3Btokens%3D1"));
    expect(await form("text=Grüße, Welt %26+%0D%0A~&&blocks[]={}&=&x")).toEqual(
      sentForm("text=Gr%C3%BC%C3%9Fe%2C+Welt+%26+%0D%0A~&blocks%5B%5D=%7B%7D&=&x"),
    );
  });

  it.each(["%zz=1", "a=%", "a=%ff", "a%00=1", "to%256ben=1", "a=1\r\ntoken=1", "a=1\n"])(
    "is refused where it could be read in two ways: %j",
    async (text) => {
      expect(await form(text)).toEqual(bad);
    },
  );

  it("is refused where it is not UTF-8", async () => {
    expect(await check(new Uint8Array([0x61, 0x3d, 0xff]), FORM)).toEqual(bad);
  });

  it("that is JSON, as curl -d sends it, is checked and sent as JSON", async () => {
    expect(await form(' {"text": "a=1&_method=DELETE"}')).toEqual(sentJson('{"text":"a=1&_method=DELETE"}'));
    expect(await form('{"token":1}')).toEqual(refusal("token"));
    expect(await form("[token]=1")).toEqual(refusal("token"));
  });
});

const multipart = (text: string | Uint8Array) => check(text, MULTIPART);
const part = (headers: string, content = "value") => `--b\r\n${headers}\r\n\r\n${content}\r\n--b--\r\n`;
const named = (disposition: string) => multipart(part(`Content-Disposition: form-data; ${disposition}`));

describe("a multipart form", () => {
  it("is sent as it was parsed, with a boundary of the gateway's", async () => {
    const body = [
      '--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n--b\r\n\r\n--bnot a boundary?',
      '--b\r\ncontent-type: text/csv; charset="utf-8"\r\ncontent-disposition:form-data;filename="ü; 1.csv" ; name="file"\r\n\r\na\n',
      '--b\r\nContent-Disposition: form-data; name="empty"\r\nContent-Length: 0\r\nContent-Transfer-Encoding: binary\r\n\r\n',
      "--b--",
    ];
    expect(await multipart(body.join("\r\n"))).toEqual(bad);
    body[0] = body[0]!.replace("\r\n--bnot", " --bnot");
    const sent = await multipart(body.join("\r\n"));
    if ("code" in sent) throw new Error(JSON.stringify(sent));
    const boundary = /^multipart\/form-data; boundary=(agentauth-[\w-]{36})$/.exec(sent.type!)![1]!;
    expect(sent.text!.split(`--${boundary}`)).toEqual([
      "",
      '\r\nContent-Disposition: form-data; name="text"\r\n\r\n--b\r\n --bnot a boundary?\r\n',
      '\r\nContent-Disposition: form-data; name="file"; filename="ü; 1.csv"\r\nContent-Type: text/csv; charset=utf-8\r\n\r\na\n\r\n',
      '\r\nContent-Disposition: form-data; name="empty"\r\n\r\n\r\n',
      "--\r\n",
    ]);
  });

  it("of the platform's own FormData arrives byte for byte", async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(5000));
    const data = new FormData();
    data.set("text", "one\r\ntwo");
    data.set("file", new File([bytes], "a.bin", { type: "image/png" }));
    const request = new Request("https://gateway.example", { method: "POST", body: data });
    const sent = await bodyToSend(request, RULES);
    if ("code" in sent) throw new Error(JSON.stringify(sent));
    const received = await new Response(sent.body, { headers: { "content-type": sent.contentType! } }).formData();
    expect(received.get("text")).toBe("one\r\ntwo");
    const file = received.get("file") as File;
    expect([file.name, file.type]).toEqual(["a.bin", "image/png"]);
    expect(new Uint8Array(await file.arrayBuffer())).toEqual(bytes);
  });

  it.each([
    'name="token"',
    'NAME="Token"',
    'name="token[]"',
    'name="token["',
    'name=" token"',
    "name=\"'token'\"",
    'filename="x"; name="token"',
    'name="token"; filename="x"',
  ])("does not hold the part %s", async (disposition) => {
    expect(await named(disposition)).toEqual(refusal("token"));
  });

  it.each([
    "name=token",
    "name='token'",
    'name="token',
    'name="to\\ken"',
    'name="text\\"; name=\\"token"',
    'name="token\0x"',
    "name==token",
    'name=="token"',
    'name ="token"',
    'name= "token"',
    'name="text"; name="token"',
    'name="text"; filename="a"; name="token"',
    'name="text"; x="y"',
    'name="text";',
    "name*=utf-8''to%6ben",
    "name=\"text\"; filename*=utf-8''a",
    'name="text"; filename="a; name=token"',
    'name="text; name=token"',
    'name="=?utf-8?q?token?="',
    'name="to%6ben"',
    'name="text"\r\n x: y',
    'name="text"\r\n name="token"',
    'name="text"\u0085name="token"',
    'name="text"\nContent-Disposition: form-data; name="token"',
    'name="text"\r\nContent-Disposition: form-data; name="token"',
    'name="text"\r\nContent-ID: token',
    'name="text"\r\nX-Other: 1',
    'name="text"\r\nContent-Length: 4',
    'name="text"\r\nContent-Transfer-Encoding: quoted-printable',
    'name="text"\r\nContent-Type: text/plain; charset=utf-16',
    'name="text"\r\nContent-Type: multipart/mixed; boundary=c',
    'name="text"\r\nContent-Type: text/plain; name=token',
    'name="text"\r\nContent-Type: text',
    'name=""',
    'filename="x"',
    "",
  ])("is refused with %j, which parsers read differently", async (disposition) => {
    expect(await named(disposition)).toEqual(bad);
  });

  const good = part('Content-Disposition: form-data; name="text"');
  it.each([
    ["a preamble", `x\r\n${good}`],
    ["no boundary at its beginning", good.replace("--b", "xxx")],
    ["no line break after a boundary", good.replace("--b\r\n", "--bxx")],
    ["an epilogue", `${good}x`],
    ["no end", good.slice(0, -6)],
    ["lines that end in LF", good.replaceAll("\r\n", "\n")],
    ["space after the boundary", good.replace("--b\r\n", "--b \r\n")],
    ["no disposition", part("Content-Type: text/plain")],
    ["attachment", part('Content-Disposition: attachment; name="text"')],
    [
      "bytes that are not UTF-8 in a name",
      new Uint8Array([...new TextEncoder().encode(good)].map((byte) => (byte === 0x78 ? 0xff : byte))),
    ],
    ["too many parts", good.slice(0, -"--b--\r\n".length).repeat(1001) + "--b--\r\n"],
    ["long headers", part(`Content-Disposition: form-data; name="${"x".repeat(5000)}"`)],
  ])("is refused with %s", async (_, body) => {
    expect(await multipart(body)).toEqual(bad);
  });

  it.each(["", "; boundary=", '; boundary="b "', "; boundary=x", "; Boundary=b; boundary=b", '; boundary="b\\c"'])(
    "is refused with the boundary %j",
    async (boundary) => {
      const { code } = (await check(good, `multipart/form-data${boundary}`)) as { code: string };
      expect(["bad_body", "body_type_refused"]).toContain(code);
    },
  );

  it.each([
    ["undefined", ""],
    ["b ", '; boundary="b "'],
    ["b;c", '; boundary="b;c"'],
    ["x".repeat(71), `; boundary=${"x".repeat(71)}`],
  ])("is refused where it is divided by %j, which is no boundary", async (boundary, parameter) => {
    const { code } = (await check(good.replaceAll("--b", `--${boundary}`), `multipart/form-data${parameter}`)) as {
      code: string;
    };
    expect(["bad_body", "body_type_refused"]).toContain(code);
  });
});

describe("the type of a body", () => {
  const unchecked: BodyRules = { forms: watchNames(["_method"]), keys: [], isCovered: true, isFile: false };
  const none: BodyRules = { forms: watchNames([]), keys: [], isCovered: true, isFile: false };

  it("that was checked is the one that is sent, whatever Connection says", async () => {
    const headers = { connection: "keep-alive, Content-Type" };
    expect(await check('{"token":1}', "application/json", { headers })).toHaveProperty("code", "body_type_refused");
    const octets = { text: "_method=DELETE", type: "application/octet-stream" };
    expect(await check("_method=DELETE", FORM, { headers, rules: unchecked })).toEqual(octets);
    expect(await check("_method=DELETE", null, { rules: unchecked })).toEqual(octets);
    expect(await check("_method=DELETE", "", { rules: unchecked })).toEqual(octets);
  });

  it.each([
    `${FORM}, text/plain`,
    `text/plain, ${FORM}`,
    `${FORM} x`,
    `${FORM}; a`,
    `${FORM}; charset=utf-16`,
    `${FORM}; charset=utf-8; charset=utf-16`,
    "application/x-url-encoded",
    "multipart/mixed; boundary=b",
    "multipart/related; boundary=b",
    "text",
  ])("%s is refused where forms are looked at", async (type) => {
    expect(await check("_method=DELETE", type, { rules: unchecked })).toHaveProperty("code", "body_type_refused");
  });

  it("is written in one form", async () => {
    expect(await check("a=1", "Application/X-WWW-Form-URLEncoded ;charset=UTF8;", { rules: unchecked })).toEqual({
      text: "a=1",
      type: `${FORM}; charset=UTF8`,
    });
  });

  it("with a coding cannot be checked", async () => {
    for (const coding of ["gzip", "identity, gzip", "x"]) {
      const sent = await check("a=1", FORM, { headers: { "content-encoding": coding } });
      expect(sent).toHaveProperty("code", "body_type_refused");
    }
    expect(await check("a=1", FORM, { headers: { "content-encoding": "Identity" } })).toEqual(sentForm("a=1"));
  });

  it("of other kinds passes where no key is looked at, or no rule covers the request", async () => {
    const covered = await check("{}", "text/plain");
    expect(covered).toHaveProperty("code", "body_type_refused");
    const uncovered = { ...RULES, isCovered: false };
    expect(await check("x", "image/png", { rules: uncovered })).toEqual({ text: "x", type: "image/png" });
    expect(await check('{"token":1}', "application/json", { rules: uncovered })).toEqual(refusal("token"));
    expect(await check('{"_method":1}', "application/json", { rules: unchecked })).toEqual(sentJson('{"_method":1}'));
    expect(await check("_method=DELETE", FORM, { rules: none })).toEqual(sentForm("_method=DELETE"));
    const whole = part('Content-Disposition: form-data; name="_method"');
    expect(await check(whole, MULTIPART, { rules: none })).toEqual({ text: whole, type: MULTIPART });
  });
});

describe("a body that is read", () => {
  it("is refused where it breaks off", async () => {
    const broken = new ReadableStream({ pull: (controller) => controller.error(new Error("lost")) });
    expect(await check(broken, "application/json")).toEqual(bad);
  });

  it("is bounded, whether or not a length is declared", async () => {
    const long = "x".repeat(MAX_CHECKED_BODY + 1);
    expect(await check(long, "application/json")).toEqual({ code: "body_too_large" });
    expect(await check(new Blob([long]).stream(), FORM)).toEqual({ code: "body_too_large" });
  });
});

describe("the coding of a body", () => {
  it.each<[string | null, string]>([
    [null, "none"],
    ["", "none"],
    ["identity, utf-8", "none"],
    ["gzip", "decoded"],
    ["br", "decoded"],
    ["GZIP", "gzip"],
    ["x-gzip", "gzip"],
    ["identity, gzip", "gzip"],
    ["gzip, gzip", "unreadable"],
    ["gzip, br", "unreadable"],
    ["BR", "unreadable"],
    ["snappy", "unreadable"],
  ])("%j is %s", (value, coding) => {
    expect(contentCoding(value)).toBe(coding);
  });
});

describe("the rules for a body", () => {
  it("are strict where a rule covers the request, and a file is one by its rule", () => {
    const slack = services.get("slack")!;
    const lab = { ...slack, definition: { ...slack.definition, fileRules: ["POST /upload files"] } };
    const of = (rule: string | null) => {
      const { isCovered, isFile } = bodyRules({ rule, service: lab }, { wider: [], isLimited: false });
      return [isCovered, isFile];
    };
    expect([of(null), of("POST /x x"), of("POST /upload files")]).toEqual([
      [false, false],
      [true, false],
      [true, true],
    ]);
  });

  it("watch the names of a form only if there are any", () => {
    const headers = new Headers({ "content-type": "application/x-www-form-urlencoded-foo" });
    const like = (names: string[]) =>
      bodyTreatment(headers, { forms: watchNames(names), keys: [], isCovered: true, isFile: false });
    expect(like(["token"])).toHaveProperty("code", "body_type_refused");
    expect(like([])).toMatchObject({ kind: "stream" });
  });

  it("let nobody see what is sent as it comes", () => {
    const bytes = new TextEncoder().encode("x").buffer as ArrayBuffer;
    const rules = { ...RULES, forms: watchNames([]), keys: [], isCovered: false };
    const treatment = bodyTreatment(new Headers({ "content-type": "text/plain" }), rules);
    expect(checkBody(bytes, treatment, rules)).toEqual({
      body: bytes,
      contentType: "text/plain",
      content: { kind: "unreadable" },
    });
  });
});
