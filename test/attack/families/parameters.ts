import { family, shown, type Outcome } from "../family.ts";
import { mustBe, type Lab } from "../lab.ts";
import { jsonKeys, readLeniently, type Parameter } from "../parsers.ts";
import type { Random } from "../random.ts";
import type { Arrival } from "../upstream.ts";

/** What an upstream must not read from a request: a parameter, with a value where only that is forbidden. */
interface Watched {
  readonly names: readonly string[];
  readonly value?: RegExp;
}

/** What each service's agent sends, what it holds, and what no parser may find in what arrives. */
const CASES = {
  "stripe query": { permission: "stripe:payments:read", method: "GET", path: "/stripe/v1/charges", names: ["expand"], value: "data.customer" },
  "hubspot query": {
    permission: "hubspot:contacts:read", method: "GET", path: "/hubspot/crm/v3/objects/contacts", names: ["associations"], value: "companies",
  },
  "zendesk query": { permission: "zendesk:tickets:read", method: "GET", path: "/zendesk/api/v2/tickets", names: ["include"], value: "users" },
  "stripe account": {
    permission: "stripe:payments:read", method: "GET", path: "/stripe/v1/charges", names: ["_stripe_account", "_stripe_version"], value: "2015-01-01",
  },
  "vault query": {
    permission: "vault:public:read", method: "GET", path: "/vault/public/1", names: ["access_token", "_method", "oauth_token", "_charset_"], value: "DELETE",
  },
  "slack body": { permission: "slack:messages:write", method: "POST", path: "/slack/api/chat.postMessage", names: ["token"], value: "xoxb-mine" },
  "vault body": {
    permission: "vault:public:read", method: "POST", path: "/vault/public/1/search", names: ["_method", "access_token"], value: "DELETE",
  },
} as const; // prettier-ignore

type Case = keyof typeof CASES;
const QUERIES = ["stripe query", "hubspot query", "zendesk query", "stripe account", "vault query"] as const;
const BODIES = ["slack body", "vault body"] as const;

const watchedIn = (which: Case): Watched => {
  const { names, value } = CASES[which];
  // These may be asked for, but not for this.
  const isEmbed = ["expand", "associations", "include"].includes(names[0]);
  return { names, ...(isEmbed && { value: new RegExp(value.split(".").at(-1)!, "i") }) };
};

const normal = (name: string): string => name.trim().toLowerCase();

const found = (read: readonly Parameter[], { names, value }: Watched): Parameter | undefined =>
  read.find((one) => names.includes(normal(one.name)) && (value?.test(one.value) ?? true));

/** A parameter's name, spelled so that some parser might still read it. */
export function disguised(random: Random, name: string): string {
  const parts = [
    "[",
    "]",
    "[]",
    "[0]",
    "[0",
    "[[",
    "%5B",
    "%5D",
    "%5b0%5d",
    "%5B0=",
    ".",
    ".0",
    "+",
    "%20",
    "%00",
    "%09",
    "%0a",
    "%2500",
    ";",
    "[0][",
    "[a]b",
    "%E2%80%8B",
    "%C2%A0",
    "-",
    "_",
  ];
  const junk = () => (random.chance(0.35) ? random.pick(parts) + (random.chance(0.3) ? random.pick(parts) : "") : "");
  let middle = name;
  if (random.chance(0.15)) middle = middle.replace("_", random.pick([".", "+", "%20", "[", "%5B", "%5F", "_"]));
  if (random.chance(0.2))
    middle = [...middle]
      .map((letter) => (random.chance(0.3) ? `%${letter.charCodeAt(0).toString(16)}` : letter))
      .join("");
  if (random.chance(0.1))
    middle = random.chance(0.5) ? middle.toUpperCase() : middle[0]!.toUpperCase() + middle.slice(1);
  if (random.chance(0.05)) middle = middle.replace(/(?<=^.)/, random.pick(["%00", "\\", "%E2%80%8B"]));
  return junk() + middle + junk();
}

function formText(random: Random, which: Case): string {
  const { names, value } = CASES[which];
  const pair = disguised(random, random.pick(names)) + random.pick(["=", "=", "=", ";=", "==", "%3D="]) + value;
  const before = random.pick(["", "", "a=1&", "a=1;", "&&", "a=1%26", "a&", "=&", "?", "a=1\r\n"]);
  const after = random.pick(["", "", "&a=1", "&", ";b", `&${pair}`]);
  return before + pair + after;
}

interface Query {
  readonly which: (typeof QUERIES)[number];
  readonly query: string;
}

/** Tells which inputs some parser of the upstream reads as what is watched. */
async function judged(
  lab: Lab,
  inputs: ReadonlyArray<{ which: Case }>,
  show: (index: number, arrival: Arrival) => string,
): Promise<Outcome> {
  const through: string[] = [];
  await lab.each(inputs, async ({ which }, index) => {
    for (const arrival of lab.upstream.tagged(`n${index}`)) {
      const watched = watchedIn(which);
      const hit = found(readLeniently(arrival), watched) ?? found(await lab.readers.read(arrival), watched);
      if (hit) through.push(`${which}: ${hit.parser} reads ${shown(hit.name)} in ${show(index, arrival)}`);
    }
  });
  return { through, skipped: lab.readers.skipped };
}

async function agentsFor(lab: Lab, inputs: ReadonlyArray<{ which: Case }>) {
  return lab.crowd([...new Set(inputs.map(({ which }) => CASES[which].permission))], inputs.length);
}

export const queries = family<Query>(
  "query names",
  "what a parameter embeds or overrides, by a spelling of its name",
  (random, size) =>
    Array.from({ length: size === "full" ? 5000 : 150 }, () => {
      const which = random.pick(QUERIES);
      return { which, query: formText(random, which).replace(/[\r\n]/g, "") };
    }),
  async (lab, inputs) => {
    const agents = await agentsFor(lab, inputs);
    const control = await lab.send({
      target: "/proxy/stripe/v1/charges?limit=3",
      token: agents(0).token,
      tag: "control",
    });
    mustBe(
      "a query without anything to hide",
      `${control.status} ${lab.upstream.tagged("control")[0]?.target}`,
      "200 /stripe/v1/charges?limit=3",
    );
    await lab.each(inputs, async ({ which, query }, index) => {
      const { path } = CASES[which];
      await lab.send({ target: `/proxy${path}?${query}`, token: agents(index).token, tag: `n${index}` });
    });
    return judged(lab, inputs, (_, { target }) => shown(target));
  },
);

interface Form {
  readonly which: (typeof BODIES)[number];
  readonly type: string;
  readonly body: string;
}

const FORM_TYPES = [
  "application/x-www-form-urlencoded", "application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8",
  "Application/X-WWW-Form-Urlencoded", "application/x-www-form-urlencoded;charset=utf-16", "application/x-www-form-urlencoded, application/json",
  "application/json, application/x-www-form-urlencoded", "text/plain", "", " application/x-www-form-urlencoded",
]; // prettier-ignore

async function sendBodies(
  lab: Lab,
  inputs: ReadonlyArray<{ which: Case; type: string; body: string | Buffer; headers?: readonly string[] }>,
) {
  const agents = await agentsFor(lab, inputs);
  for (const which of new Set(inputs.map((input) => input.which))) {
    const form = { headers: ["Content-Type: application/x-www-form-urlencoded"], body: "channel=C1" };
    const control = await lab.send({
      method: "POST",
      target: `/proxy${CASES[which].path}`,
      token: agents(0).token,
      tag: "control",
      ...form,
    });
    mustBe(
      "a form without anything to hide",
      `${control.status} ${lab.upstream.tagged("control").at(-1)?.body}`,
      "200 channel=C1",
    );
  }
  await lab.each(inputs, async ({ which, type, body, headers = [] }, index) => {
    await lab.send({
      method: "POST",
      target: `/proxy${CASES[which].path}`,
      token: agents(index).token,
      tag: `n${index}`,
      headers: [...(type ? [`Content-Type: ${type}`] : []), ...headers],
      body,
    });
  });
}

export const forms = family<Form>(
  "forms",
  "a credential or a method of its own, in a form",
  (random, size) =>
    Array.from({ length: size === "full" ? 2500 : 100 }, () => {
      const which = random.pick(BODIES);
      return { which, type: random.pick(FORM_TYPES), body: formText(random, which) };
    }),
  async (lab, inputs) => {
    await sendBodies(lab, inputs);
    return judged(lab, inputs, (index) => `${shown(inputs[index]!.type)} ${shown(inputs[index]!.body)}`);
  },
);

/** One part's headers, near RFC 7578 or far from it. */
function partHead(random: Random, name: string): string {
  const quoted = random.pick([
    `"${name}"`, `"${name}"`, name, `'${name}'`, `"${name}`, `"${name}\\`, `"${name}\0x"`, `"${name}\0`, `=${name}`, `"\\${name}"`, ` "${name}"`, `"${name}" `,
    `"a"; name="${name}"`, `"a"; filename="x"; name=${name}`, `"a\\"; name="${name}"`, `"a\\\\"; name="${name}"`, `"${name}[]"`, `"${name}[0"`, `" ${name}"`,
    `"${name}."`, `"${name}\t"`, `"${name.toUpperCase()}"`, `"a"; name*=utf-8''${name}`, `"a"; filename="\\"; name="${name}"; x="`, `"=?utf-8?q?${name}?="`,
    `"${[...name].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join("")}"`, `"${name[0]}\r\n ${name.slice(1)}"`, `\t${name}`, `"${name}";`, `${name};`,
    `"${name.replace("_", ".")}"`, `"${name.replace("_", " ")}"`, `"${name.replace("_", "[")}"`, `"[${name}]"`,
  ]); // prettier-ignore
  const key = random.pick(["name", "name", "name", "NAME", "Name ", " name", "name\t"]);
  const field = random.pick([
    "Content-Disposition: form-data; ", "Content-Disposition: form-data; ", "content-disposition:form-data;", "Content-Disposition : form-data; ",
    "Content-Disposition: form-data;\r\n ", "Content-Disposition: attachment; ", "Content-Disposition: ", " Content-Disposition: form-data; ",
    'Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; ', "X: y\r\nContent-Disposition: form-data; ", "Content-Disposition: form-data, ",
    "Content-Type: text/plain\r\nContent-Disposition: form-data; ", "Content-Disposition: form-data ; filename=a; ", 'Content-Disposition: form-data; filename="a;b"; ',
  ]); // prettier-ignore
  return `${field}${key}=${quoted}`;
}

function multipart(random: Random, which: (typeof BODIES)[number]): Form {
  const { names, value } = CASES[which];
  const boundary = random.pick(["x", "----b", "aB0'()+_,-./:=?", "b b", "xx"]);
  const [line, end] = random.chance(0.8)
    ? ["\r\n", "\r\n\r\n"]
    : random.pick([
        ["\n", "\n\n"],
        ["\r\n", "\n\n"],
        ["\r", "\r\r"],
        ["\n", "\r\n\r\n"],
      ] as const);
  const declared = random.pick([
    `boundary="${boundary}"`, `boundary="${boundary}"`, `boundary=${boundary}`, `BOUNDARY="${boundary}"`, `boundary="y"; boundary="${boundary}"`,
    `boundary="${boundary}"; boundary="y"`, `boundary="${boundary}`, `boundary = "${boundary}"`, `charset=utf-8; boundary="${boundary}"`, `boundary="${boundary}",x`,
    `boundary=${boundary},`, `boundary*=utf-8''${boundary}`,
  ]); // prettier-ignore
  const type = `${random.chance(0.9) ? "multipart/form-data" : random.pick(["Multipart/Form-Data", "multipart/mixed", "multipart/form-data ", "multipart/related"])}; ${declared}`;
  const innocent = `--${boundary}${line}Content-Disposition: form-data; name="channel"${end}C1${line}`;
  const evil = `--${boundary}${line}${partHead(random, random.pick(names))}${end}${value}${line}`;
  const hidden = [
    () => innocent + evil,
    () => evil + innocent,
    () => evil,
    // The part stands in the preamble, the epilogue, another part's content, or after a delimiter that not everybody takes for one.
    () => innocent + `--${boundary}--${line}${evil}`,
    () => `preamble${evil}${innocent}`,
    () => innocent.slice(0, -line.length) + evil,
    () => innocent + evil.replace(`--${boundary}`, `--${boundary} `),
    () => innocent + evil.replace(`--${boundary}`, `--${boundary}\t`),
    () => innocent + evil.replace(`--${boundary}`, ` --${boundary}`),
    () => innocent + evil.replace(`--${boundary}`, `--${boundary}-`),
    () => innocent + evil.replace(end, line),
  ];
  let body =
    random.pick(hidden)() +
    random.pick([`--${boundary}--${line}`, `--${boundary}--${line}`, `--${boundary}--`, "", `--${boundary}`]);
  if (random.chance(0.15)) {
    const at = random.below(body.length);
    body =
      body.slice(0, at) +
      random.pick(["\0", "\r", "\n", '"', "'", "\\", ";", " ", "="]) +
      body.slice(at + random.below(2));
  }
  return { which, type, body };
}

export const multiparts = family<Form>(
  "multipart bodies",
  "a credential or a method of its own, in a part that only some parsers see",
  (random, size) =>
    Array.from({ length: size === "full" ? 10_000 : 200 }, () => multipart(random, random.pick(BODIES))),
  async (lab, inputs) => {
    await sendBodies(lab, inputs);
    return judged(lab, inputs, (index) => `${shown(inputs[index]!.type)} ${shown(inputs[index]!.body)}`);
  },
);

interface Json {
  readonly service: "slack" | "hubspot";
  readonly type: string;
  readonly body: Buffer;
  readonly headers?: readonly string[];
}

const JSON_CASES = {
  slack: { permission: "slack:messages:write", path: "/slack/api/chat.postMessage", forbidden: /^\s*token\s*$/i },
  hubspot: {
    permission: "hubspot:contacts:write",
    path: "/hubspot/crm/v3/objects/contacts/batch/create",
    forbidden: /^(?:inputs\..*)?\s*associations\s*(?:\.|$)/i,
  },
} as const;

const JSON_TYPES = [
  "application/json", "application/json", "application/json; charset=utf-8", "application/json; charset=utf-16", "APPLICATION/JSON", "application/vnd.api+json",
  "text/json", "text/plain", "application/jsonp", "application/json, text/plain", "", "application/x-json", "application/x-ndjson",
]; // prettier-ignore

const escapedKey = (random: Random, key: string): string =>
  [...key]
    .map((letter) => (random.chance(0.3) ? `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}` : letter))
    .join("");

function jsonText(random: Random, service: Json["service"]): string {
  if (service === "slack") {
    const key = random.pick([
      `"${escapedKey(random, "token")}"`,
      '"Token"',
      '" token"',
      '"token "',
      '"TOKEN"',
      '"tok\\u0065n"',
      '"token"',
    ]);
    const member = `${key}:"xoxb-mine"`;
    return random.pick([
      `{${member}}`, `{"a":1,${member}}`, `{${member},"token":null}`, `{"token":null,${member}}`, `{"__proto__":{${member}}}`, `{"a":{},${member},}`,
      `{/* */${member}}`, `{"a":1}{${member}}`, `[{${member}}]`, `{"a":"\\"",${member}}`, `{"a":1}\n{${member}}`, `{${member}`, `{'token':'x'}`,
    ]); // prettier-ignore
  }
  const key = random.pick([
    `"${escapedKey(random, "associations")}"`,
    '"Associations"',
    '"associations "',
    '"associations"',
  ]);
  const member = `${key}:[{"to":{"id":"1"},"types":[{"associationTypeId":1}]}]`;
  return random.pick([
    `{"inputs":[{${member}}]}`, `{"inputs":{"0":{${member}}}}`, `{"inputs":{${member}}}`, `{${member}}`, `{"inputs":[[{${member}}]]}`,
    `{"inputs":[{"associations":[],${member}}]}`, `{"inputs":[{${member},"associations":[]}]}`, `{"inputs":[],"inputs":[{${member}}]}`, `{"INPUTS":[{${member}}]}`,
    `{"inputs":[{"properties":{},${member}}]}`, `{"inputs":{"a":{"b":{${member}}}}}`,
  ]); // prettier-ignore
}

export const jsonBodies = family<Json>(
  "JSON bodies",
  "a credential, or associations that need more, by a spelling of JSON",
  (random, size) =>
    Array.from({ length: size === "full" ? 1500 : 80 }, () => {
      const service = random.pick(["slack", "hubspot"] as const);
      const text = jsonText(random, service);
      const utf16 = Buffer.from(text, "utf16le");
      const body = random.pick([
        () => Buffer.from(text),
        () => Buffer.from(text),
        () => Buffer.from(`\uFEFF${text}`),
        () => utf16,
        () => Buffer.from(utf16).swap16(),
      ])();
      const headers = random.chance(0.1)
        ? [random.pick(["Content-Encoding: gzip", "Content-Encoding: identity", "Connection: content-type"])]
        : [];
      return { service, type: random.pick(JSON_TYPES), body, headers };
    }),
  async (lab, inputs) => {
    const agents = await lab.crowd(Object.values(JSON_CASES).map(({ permission }) => permission), inputs.length); // prettier-ignore
    const plain = { method: "POST", headers: ["Content-Type: application/json"], body: '{"inputs":[]}' };
    for (const { path } of Object.values(JSON_CASES)) {
      const { status } = await lab.send({ ...plain, target: `/proxy${path}`, token: agents(0).token });
      mustBe("a body of JSON without anything to hide", status, 200);
    }
    const through: string[] = [];
    await lab.each(inputs, async ({ service, type, body, headers = [] }, index) => {
      const { path, forbidden } = JSON_CASES[service];
      const tag = `j${index}`;
      const sent = [...(type ? [`Content-Type: ${type}`] : []), ...headers];
      await lab.send({ method: "POST", target: `/proxy${path}`, token: agents(index).token, tag, headers: sent, body });
      for (const arrival of lab.upstream.tagged(tag)) {
        const key = jsonKeys(arrival.body).find((one) => forbidden.test(one));
        const isEmpty = /"associations"\s*:\s*\[\s*\]/.test(arrival.body.toString());
        if (key !== undefined && !(service === "hubspot" && isEmpty && !/"to"/.test(arrival.body.toString())))
          through.push(`${service}: ${shown(key)} in ${shown(arrival.body.toString())}`);
      }
    });
    return { through };
  },
);
