import { family, shown } from "../family.ts";
import { CREDENTIAL, mustBe } from "../lab.ts";
import { readLeniently } from "../parsers.ts";
import type { Random } from "../random.ts";
import { tagHeader } from "../upstream.ts";
import { disguised } from "./parameters.ts";

const MARK = "attack-0f3e";

const NAMES = [
  "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method", "X-Original-URL", "X-Rewrite-URL", "X-Original-Method", "X-Forwarded-Host",
  "X-Forwarded-For", "X-Forwarded-User", "X-Forwarded-Prefix", "Forwarded", "X-Real-IP", "X-Remote-User", "Remote-User", "X-On-Behalf-Of", "X-User", "X-Act-As", "Act-As",
  "X-Impersonate-User", "Stripe-Account", "Stripe-Context", "X-Zendesk-On-Behalf-Of", "Sforce-Call-Options", "X-Slack-User", "X-GitHub-OTP", "X-Api-Key", "Api-Key",
  "X-Auth-Token", "Proxy-Authorization", "Cookie", "Cookie2", "X-AgentAuth-Agent", "X-Amz-Security-Token", "X-Vault-Token", "Authorization2", "X-Authorization",
  "CF-Connecting-IP", "CF-Worker", "MF-Original-URL", "Via", "Max-Forwards", "TE", "Trailer", "Expect", "Origin", "Referer", "From", "Host2", "X_Forwarded_Host",
  "Content-MD5", "Content-Location", "Content-Language", "X-Content-Type", "Link", "Prefer", "Priority", "Upgrade-Insecure-Requests", "X-Requested-With", "__proto__",
]; // prettier-ignore

interface Header {
  readonly kind: "named" | "connection" | "split";
  readonly lines: readonly string[];
  readonly method: "GET" | "POST";
}

function header(random: Random): Header {
  const roll = random.below(10);
  if (roll < 5) {
    const name = random.pick(NAMES);
    const spelled = random.chance(0.3) ? name.replaceAll("-", "_") : random.chance(0.3) ? name.toUpperCase() : name;
    const value =
      name === "TE" || name === "Expect"
        ? MARK
        : random.pick([MARK, `${MARK}, DELETE`, `/secret/1?${MARK}`, `for=${MARK}`]);
    return { kind: "named", lines: [`${spelled}: ${value}`], method: "GET" };
  }
  if (roll < 8) {
    const victim = random.pick([
      "content-type",
      "Content-Type",
      "authorization",
      "Authorization",
      "content-length",
      "host",
      "accept, content-type",
      "content-encoding",
      "close, content-type",
    ]);
    return {
      kind: "connection",
      lines: [`Connection: ${victim}`, ...(random.chance(0.3) ? ["Connection: content-type"] : [])],
      method: "POST",
    };
  }
  const breaks = random.pick(["\r\n", "\n", "\r", "\r\n ", "\0", "\u0085", "\u010d\u010a"]);
  const value = random.pick(["application/json", "x", '"etag"']);
  const name = random.pick(["If-None-Match", "Idempotency-Key", "Range", "If-Match"]);
  return { kind: "split", lines: [`${name}: ${value}${breaks}X-Act-As: ${MARK}`], method: "GET" };
}

export const headers = family<Header>(
  "headers",
  "another identity, method or type at the upstream, by a header",
  (random, size) => Array.from({ length: size === "full" ? 1200 : 80 }, () => header(random)),
  async (lab, inputs) => {
    const agents = await lab.crowd(["vault:public:read", "slack:messages:write"], inputs.length);
    const through: string[] = [];
    await lab.each(inputs, async ({ kind, lines, method }, index) => {
      const tag = `h${index}`;
      const { token } = agents(index);
      const body = method === "POST" ? '{"text":"&token=x&"}' : "";
      const target = method === "POST" ? "/proxy/slack/api/chat.postMessage" : "/proxy/vault/public/1";
      const head = [
        `${method} ${target} HTTP/1.1`, `Host: 127.0.0.1:${lab.port}`, `Authorization: Bearer ${token}`, `Accept: ${tagHeader(tag)}`, ...lines,
        ...(body ? ["Content-Type: application/json", `Content-Length: ${body.length}`] : []), ...(kind === "connection" ? [] : ["Connection: close"]), "", body,
      ]; // prettier-ignore
      await lab.raw(head.join("\r\n"), kind === "connection" ? 600 : 1500);
      // What Connection names may be `Accept` itself: then the request has no tag, and its lack of a type tells it.
      for (const { headers: seen, target: arrived } of lab.upstream.tagged(tag)) {
        // A value that stays one value is no header of the attacker's own.
        const isMarked = ([name, value]: readonly [string, string]) =>
          name.includes("x-act-as") || (kind !== "split" && value.includes(MARK)) || value.includes(token);
        const marked = seen.find(isMarked);
        const credentials = seen.filter(([name]) => name === "authorization").map(([, value]) => value);
        const type = seen.find(([name]) => name === "content-type")?.[1];
        if (marked) through.push(`${shown(lines.join(" | "))}: ${marked[0]} arrived`);
        else if (credentials.join() !== `Bearer ${CREDENTIAL}`)
          through.push(`${shown(lines.join(" | "))}: another credential`);
        else if (method === "POST" && type !== "application/json")
          through.push(`${shown(lines.join(" | "))}: arrived as ${String(type)}`);
        else if (!arrived.startsWith("/base/v1/public/1") && method === "GET")
          through.push(`${shown(lines.join(" | "))}: ${shown(arrived)}`);
      }
    });
    const untagged = lab.upstream
      .tagged("")
      .filter(({ headers: seen }) => !seen.some(([name]) => name === "content-type"));
    through.push(...untagged.map(({ target }) => `a body without its type arrived at ${shown(target)}`));
    mustBe("requests arrived", lab.upstream.arrivals.length > inputs.length / 4, true);
    return { through };
  },
);

interface Method {
  readonly method: string;
  readonly target: string;
  readonly lines: readonly string[];
  readonly body: string;
}

const METHODS = [
  "get",
  "Get",
  "gEt",
  "TRACE",
  "TRACK",
  "PROPFIND",
  "PURGE",
  "LINK",
  "SEARCH",
  "M-SEARCH",
  "COPY",
  "MOVE",
  "LOCK",
  "REPORT",
  "MKCOL",
  "ACL",
  "BREW",
  "QUERY",
  "G\u00cbT",
  "GET\t",
  "GETX",
  "X",
  "DELETE",
  "delete",
  "PUT",
  "put",
  "PATCH",
  "POST",
  "post",
  "OPTIONS",
  "CONNECT",
];

function method(random: Random): Method {
  if (random.chance(0.5)) {
    const override = random.pick(["_method", "_HttpMethod", "X-HTTP-Method-Override"]);
    const name = random.chance(0.5) ? disguised(random, override) : override;
    return { method: "GET", target: `/proxy/vault/public/1?${name}=DELETE`, lines: [], body: "" };
  }
  const lines = random.chance(0.3) ? [`X-HTTP-Method-Override: ${random.pick(["DELETE", "PUT"])}`] : [];
  const body = random.chance(0.3) ? "_method=DELETE" : "";
  return { method: random.pick(METHODS), target: "/proxy/vault/public/1", lines, body };
}

export const methods = family<Method>(
  "methods",
  "a write with a permission to read",
  (random, size) => Array.from({ length: size === "full" ? 1000 : 60 }, () => method(random)),
  async (lab, inputs) => {
    const agents = await lab.crowd(["vault:public:read"], inputs.length);
    const through: string[] = [];
    await lab.each(inputs, async ({ method: verb, target, lines, body }, index) => {
      const tag = `m${index}`;
      const head = [
        `${verb} ${target} HTTP/1.1`, `Host: 127.0.0.1:${lab.port}`, `Authorization: Bearer ${agents(index).token}`, `Accept: ${tagHeader(tag)}`, ...lines,
        ...(body ? ["Content-Type: application/x-www-form-urlencoded", `Content-Length: ${body.length}`] : []), "Connection: close", "", body,
      ]; // prettier-ignore
      await lab.raw(head.join("\r\n"));
      for (const arrival of lab.upstream.tagged(tag)) {
        const override = readLeniently(arrival).find(({ name }) =>
          /^(?:_method|_httpmethod|method|x.http.method.override)$/i.test(name.trim()),
        );
        if (arrival.method !== "GET" && arrival.method !== "HEAD")
          through.push(`${shown(verb)} arrived as ${arrival.method}`);
        else if (arrival.body.length > 0) through.push(`${shown(verb)} arrived with a body`);
        else if (override) through.push(`${override.parser} reads ${override.name} in ${shown(arrival.target)}`);
      }
    });
    mustBe("reads arrived", lab.upstream.arrivals.length > 0, true);
    return { through };
  },
);
