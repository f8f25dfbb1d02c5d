import { readFileSync } from "node:fs";
import { createGzip, gzipSync } from "node:zlib";
import { family, shown } from "../family.ts";
import { CREDENTIAL, mustBe, valuesOf } from "../lab.ts";
import { decodeLeniently } from "../parsers.ts";
import type { Random } from "../random.ts";

interface Redirect {
  readonly status: number;
  readonly header: "location" | "link" | "content-location" | "refresh" | "body";
  /** With UP for the upstream's origin and GW for the gateway's. */
  readonly to: string;
  readonly method: "GET" | "POST";
}

const PREFIXES = [
  "UP", "UP/base/v1", "UP/base/v1/public", "GW", "GW/proxy/vault", "", "/base/v1", "/proxy/vault", ".", "..", "//UPHOST", "//GWHOST", "\\\\GWHOST", "/\\GWHOST", "\t//GWHOST", "UP/base/v1/public/..",
  "http:GW", "http:/\\GWHOST", "http://user@GWHOST", "UP//", "UP/./", "UP/base/v1/%2e%2e", "UP@GWHOST", "http://localhost:GWPORT", "http://[::1]:GWPORT", "HTTP://GWHOST", "http://0x7f.1:GWPORT",
]; // prettier-ignore
const CLIMBS = [
  "",
  "/..",
  "/../..",
  "/../../..",
  "/../../../..",
  "/%2e%2e/%2e%2e",
  "/.%2e/..",
  "\\..\\..",
  "/..\\..",
  "/./../..",
  "/%2e%2e%2f..",
  "/..;/..",
  "/\t../..",
  "/a/../../..",
  "/..//..",
];
const GOALS = [
  "/proxy/slack/api/chat.postMessage",
  "/agents/revoke-tokens",
  "/slack/api/chat.postMessage",
  "\\proxy\\slack\\api\\chat.postMessage",
  "/proxy/./slack/api/chat.postMessage",
  "/proxy/vault/../slack/api/chat.postMessage",
  "/proxy/vault/%2e%2e/slack/api/chat.postMessage",
  "/agents/AGENT/revoke",
];

const redirect = (random: Random): Redirect => ({
  status: random.pick([301, 302, 303, 307, 307, 308]),
  header: random.pick([
    "location",
    "location",
    "location",
    "location",
    "link",
    "content-location",
    "refresh",
    "body",
  ] as const),
  to: random.pick(PREFIXES) + random.pick(CLIMBS) + random.pick(GOALS),
  method: random.pick(["GET", "POST"] as const),
});

interface Linked {
  readonly next_page?: string;
  readonly links?: { readonly next?: string };
  readonly tickets?: readonly { readonly url?: string }[];
}

export const redirects = family<Redirect>(
  "redirects and links",
  "a client that follows an upstream's link to another service, or to the end of its own tokens",
  (random, size) => Array.from({ length: size === "full" ? 1500 : 80 }, () => redirect(random)),
  async (lab, inputs) => {
    const agents = await lab.crowd(
      ["vault:public:write", "vault:public:read", "slack:messages:write", "zendesk:tickets:read"],
      3 * inputs.length,
    );
    const { host, port } = new URL(lab.origin);
    const through: string[] = [];
    lab.upstream.answers.set(
      "control",
      (_, response) => void response.writeHead(307, { location: `${lab.upstream.url}/base/v1/public/2` }).end(),
    );
    const control = await lab.send({ target: "/proxy/vault/public/1", token: agents(0).token, tag: "control" });
    const led = URL.parse(valuesOf(control.headers, "location")[0] ?? "", lab.origin)?.pathname;
    mustBe("a redirect within the service leads to", led, "/proxy/vault/public/2");

    await lab.each(inputs, async ({ status, header, to, method }, index) => {
      const tag = `r${index}`;
      const agent = agents(index);
      const link = to
        .replaceAll("GWPORT", port).replaceAll("UPHOST", new URL(lab.upstream.url).host).replaceAll("GWHOST", host)
        .replaceAll("UP", lab.upstream.url).replaceAll("GW", lab.origin).replaceAll("AGENT", agent.id); // prettier-ignore
      lab.upstream.answers.set(tag, (_, response) => {
        // Once for each of the two clients: what comes after has been led here.
        if (lab.upstream.tagged(tag).length > 2) return void response.end("{}");
        if (header === "body") {
          const text = JSON.stringify({ next_page: link, links: { next: link }, tickets: [{ url: link }] });
          return void response.writeHead(200, { "content-type": "application/json" }).end(text);
        }
        const value = header === "link" ? `<${link}>; rel="next"` : header === "refresh" ? `0; url=${link}` : link;
        response.writeHead(header === "location" ? status : 200, [header, value.replace(/[\t]/g, " ")]);
        response.end("{}");
      });
      const target = header === "body" ? "/proxy/zendesk/api/v2/tickets" : "/proxy/vault/public/1";
      const verb = header === "body" ? "GET" : method;
      const base = `/proxy/${header === "body" ? "zendesk" : "vault"}/`;
      const body = verb === "POST" ? "{}" : undefined;
      const type = body ? ["Content-Type: application/json"] : header === "body" ? ["X-AgentAuth-Links: rewrite"] : [];
      const answer = await lab.send({
        method: verb,
        target,
        token: agent.token,
        tag,
        headers: type,
        ...(body && { body }),
      });
      const links = ["location", "content-location"].flatMap((name) => valuesOf(answer.headers, name));
      for (const value of valuesOf(answer.headers, "link"))
        links.push(...[...value.matchAll(/<([^>]*)>/g)].map(([, one]) => one!));
      for (const value of valuesOf(answer.headers, "refresh")) links.push(value.split("url=")[1] ?? "");
      if (header === "body") {
        const { next_page: next, links: more, tickets } = JSON.parse(answer.body.toString() || "{}") as Linked;
        links.push(...[next, more?.next, tickets?.[0]?.url].filter((one): one is string => typeof one === "string"));
      }
      for (const one of links) {
        // As a client resolves it. No client that minds its token sends it to another origin.
        const url = URL.parse(one, lab.origin + target);
        const isOurs = url?.origin === lab.origin;
        if (isOurs && !decodeLeniently(url.pathname, false).startsWith(base))
          through.push(`${header} ${shown(to)} leads to ${shown(url.href)}`);
        else if (isOurs && /%2e|%2f|%5c|\\/i.test(url.pathname))
          through.push(`${header} ${shown(to)} leads to ${shown(url.href)}`);
      }
      if (header !== "location") return;
      // And as fetch follows it, with the agent's token.
      const init = {
        method: verb,
        headers: {
          authorization: `Bearer ${agent.token}`,
          accept: `application/json;tag=${tag}`,
          ...(body && { "content-type": "application/json" }),
        },
      };
      await fetch(lab.origin + target, { ...init, ...(body && { body }) }).then((followed) => followed.text()).catch(() => undefined); // prettier-ignore
      const strayed = lab.upstream.tagged(tag).find((arrival) => !arrival.target.startsWith("/base/v1"));
      const isOurCredential = strayed?.headers.some(
        ([name, value]) => name === "authorization" && value === `Bearer ${CREDENTIAL}`,
      );
      if (isOurCredential) through.push(`${status} ${shown(to)}: fetch wrote to ${shown(strayed!.target)}`);
    });
    for (const agent of new Set(inputs.map((_, index) => agents(index)))) {
      const { status } = await lab.call("GET", `/agents/${agent.id}`, { token: agent.token });
      if (status !== 200) through.push(`an agent's own tokens were ended: ${status}`);
    }
    return { through };
  },
);

const EVIL_HEADERS = [
  "Set-Cookie: a=1", "Set-Cookie2: a=1", "Set-Login: logged-in", "CDN-Cache-Control: max-age=99", "Cloudflare-CDN-Cache-Control: max-age=99", "Surrogate-Control: max-age=99",
  "Surrogate-Key: a", "Cache-Tag: a", "X-Accel-Redirect: /secret", "X-Accel-Expires: 99", "X-Accel-Buffering: no", "X-Sendfile: /etc/passwd", "X-Lighttpd-Send-File: /etc/passwd",
  "Expires: Thu, 01 Jan 2099 00:00:00 GMT", "Pragma: public", "Secure-Session-Registration: (ES256)", "Sec-Session-Registration: (ES256)", "Sec-Session-Challenge: a", "Secure-Session-Challenge: a", "Origin-Trial: abc",
  "Activate-Storage-Access: load", "RateLimit-Limit: 1", "RateLimit-Remaining: 0", "RateLimit-Reset: 9999", "RateLimit-Policy: 1;w=99999", 'RateLimit: "a";r=0;t=9999', "Link: </sw.js>; rel=serviceworker", 'Link: </x>; rel="preload"; as=script',
  "Link: <https://evil.example>; rel=preconnect", "Link: </m>; rel=manifest", "Link: </a.css>; rel=stylesheet", "Link: <//evil.example>; rel=dns-prefetch", "Link: </a.js>; rel=modulepreload", "Cache-Control: public, s-maxage=600",
  "Cache-Control: s-maxage =600", "Cache-Control: S-MaxAge=\"600\"", "Cache-Control: Public", "Cache-Control: public , max-age=9", "Cache-Control: proxy-revalidate, s-maxage= 600", "Clear-Site-Data: \"*\"", "Strict-Transport-Security: max-age=0",
  "Alt-Svc: h3=\":443\"", "Service-Worker-Allowed: /", "Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true", "Content-Security-Policy: default-src *", "Content-Security-Policy-Report-Only: default-src *",
  "Report-To: {}", "Reporting-Endpoints: a=\"https://evil.example\"", "NEL: {}", "Refresh: 0; url=https://evil.example", "WWW-Authenticate: Basic", "Proxy-Authenticate: Basic", "Authentication-Info: a", "Accept-CH: Sec-CH-UA", "Critical-CH: Sec-CH-UA",
  "Speculation-Rules: \"/a\"", "Permissions-Policy: camera=*", "Document-Policy: a", "Cross-Origin-Opener-Policy: unsafe-none", "Cross-Origin-Resource-Policy: cross-origin", "Cross-Origin-Embedder-Policy: unsafe-none", "Timing-Allow-Origin: *",
  "X-Frame-Options: ALLOWALL", "X-XSS-Protection: 0", "X-DNS-Prefetch-Control: on", "X-Permitted-Cross-Domain-Policies: all", "Public-Key-Pins: a", "Expect-CT: a", "Use-As-Dictionary: match=\"*\"", "SourceMap: /a.map", "Supports-Loading-Mode: fenced-frame",
  "Observe-Browsing-Topics: ?1", "Attribution-Reporting-Register-Source: {}", "Set-Cookie: __Host-agentauth=1; Path=/", "X-Request-Id: forged", "X-AgentAuth-Upstream: forged", "Idempotent-Replayed: forged", "No-Vary-Search: params", "Origin-Agent-Cluster: ?0", "P3P: a",
]; // prettier-ignore

/** What of an answer's header, with this name, shows that the upstream's passed. */
function passes(line: string, headers: ReadonlyArray<readonly [string, string]>): boolean {
  const name = line.slice(0, line.indexOf(":")).toLowerCase();
  const value = line.slice(line.indexOf(":") + 1).trim();
  const got = valuesOf(headers, name);
  if (name === "cache-control")
    return got.some((one) => /public|s-maxage/i.test(one)) || !got.some((one) => /private|no-store/i.test(one));
  if (name === "link") return got.some((one) => /rel\s*=\s*"?(?!next|prev)/i.test(one));
  // The gateway replays nothing of its own here: this is an upstream's word about its own API.
  if (name === "idempotent-replayed") return false;
  return got.includes(value);
}

export const responseHeaders = family<string>(
  "response headers",
  "a rule in a browser, a cache or a proxy before the agent, or a word in the gateway's own name",
  (_, size) =>
    size === "full"
      ? EVIL_HEADERS.flatMap((line) => [
          line,
          line.replace(/^[^:]+/, (name) => name.toLowerCase()),
          line.replace(": ", ":\t"),
        ])
      : EVIL_HEADERS,
  async (lab, inputs) => {
    const agents = await lab.crowd(["vault:public:read"], inputs.length);
    const through: string[] = [];
    lab.upstream.answers.set(
      "control",
      (_, response) => void response.writeHead(200, ["ETag", '"a"', "Content-Type", "text/plain"]).end("ok"),
    );
    const control = await lab.send({ target: "/proxy/vault/public/1", token: agents(0).token, tag: "control" });
    mustBe("an ETag passes", valuesOf(control.headers, "etag")[0], '"a"');
    await lab.each(inputs, async (line, index) => {
      const tag = `a${index}`;
      const end = line.indexOf(":");
      lab.upstream.answers.set(
        tag,
        (_, response) => void response.writeHead(200, [line.slice(0, end), line.slice(end + 1).trim()]).end("{}"),
      );
      const { status, headers } = await lab.send({ target: "/proxy/vault/public/1", token: agents(index).token, tag });
      mustBe(`the answer with ${line}`, status, 200);
      if (passes(line, headers)) through.push(shown(line));
    });
    return { through };
  },
);

type Encode = (text: string) => Buffer;
const each = (text: string, encode: (character: string, index: number) => string): Buffer =>
  Buffer.from([...text].map(encode).join(""));
const hex = (character: string): string => character.charCodeAt(0).toString(16);
const folded = (text: string, width: number, end: string): string =>
  text.replace(new RegExp(`.{${width}}`, "g"), (line) => line + end);
const special = /[^A-Za-z0-9]/;

/** Ways in which real software writes a text. */
const ENCODERS: Readonly<Record<string, Encode>> = {
  plain: (text) => Buffer.from(text),
  "JSON.stringify": (text) => Buffer.from(JSON.stringify(text)),
  "JSON, slashes escaped (PHP)": (text) => Buffer.from(JSON.stringify(text).replaceAll("/", "\\/")),
  "JSON, HTML-safe (Go, Rails)": (text) => Buffer.from(JSON.stringify(text).replace(/[<>&=/']/g, (one) => `\\u00${hex(one)}`)),
  "JSON, HTML-safe in capitals": (text) => Buffer.from(JSON.stringify(text).replace(/[<>&=/']/g, (one) => `\\u00${hex(one).toUpperCase()}`)),
  "JSON, all escaped": (text) => each(text, (one) => `\\u00${hex(one)}`),
  "HTML, hexadecimal": (text) => each(text, (one) => (special.test(one) ? `&#x${hex(one).toUpperCase()};` : one)),
  "HTML, decimal": (text) => each(text, (one) => (special.test(one) ? `&#${one.charCodeAt(0)};` : one)),
  "HTML, leading zeros": (text) => each(text, (one) => (special.test(one) ? `&#x00${hex(one)};` : one)),
  "HTML, named": (text) => Buffer.from(text.replace(/[&<"=/+]/g, (one) => ({ "&": "&amp;", "<": "&lt;", '"': "&quot;", "=": "&equals;", "/": "&sol;", "+": "&plus;" })[one]!)),
  "HTML, escaped": (text) => Buffer.from(text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;")),
  "HTML, all": (text) => each(text, (one) => `&#x${hex(one)};`),
  encodeURIComponent: (text) => Buffer.from(encodeURIComponent(text)),
  "percent, lower case": (text) => Buffer.from(encodeURIComponent(text).replace(/%../g, (one) => one.toLowerCase())),
  "percent, slash left": (text) => Buffer.from(encodeURIComponent(text).replaceAll("%2F", "/")),
  "percent, all": (text) => each(text, (one) => `%${hex(one)}`),
  "a form": (text) => Buffer.from(new URLSearchParams({ text }).toString().slice(5)),
  "quoted-printable": (text) => each(text, (one) => (/[=<"&]/.test(one) ? `=${hex(one).toUpperCase()}` : one)),
  "quoted-printable, soft line breaks": (text) => Buffer.from(text.replace(/=/g, "=3D").replace(/(?:=3D|[^=]){9}/g, (line) => `${line}=\r\n`)),
  base64: (text) => Buffer.from(Buffer.from(text).toString("base64")),
  "base64, shifted by one": (text) => Buffer.from(Buffer.from(`x${text}`).toString("base64")),
  "base64, shifted by two": (text) => Buffer.from(Buffer.from(`xx${text}y`).toString("base64")),
  base64url: (text) => Buffer.from(Buffer.from(text).toString("base64url")),
  "base64 in lines of 76": (text) => Buffer.from(folded(Buffer.from("x".repeat(50) + text + "y".repeat(50)).toString("base64"), 76, "\r\n")),
  "base64 in lines of 64": (text) => Buffer.from(folded(Buffer.from("x".repeat(31) + text + "y".repeat(50)).toString("base64"), 64, "\n")),
  "base64 in lines of 60": (text) => Buffer.from(folded(Buffer.from("x".repeat(40) + text + "y".repeat(50)).toString("base64"), 60, "\n")),
  "UTF-16, little end first": (text) => Buffer.from(text, "utf16le"),
  "UTF-16, big end first": (text) => Buffer.from(text, "utf16le").swap16(),
}; // prettier-ignore

interface Echo {
  readonly encoder: string;
  readonly kind: "json" | "text" | "html" | "binary" | "untyped" | "big" | "gzip" | "ranges" | "header" | "header name";
  /** Where the answer is cut into pieces, counted from the beginning of the secret; undefined for one piece. */
  readonly cut: number | undefined;
}

const KINDS = ["json", "text", "html", "binary", "untyped", "gzip"] as const;
const TYPES: Readonly<Record<string, string | undefined>> = {
  json: "application/json",
  text: "text/plain",
  html: "text/html",
  binary: "application/octet-stream",
  gzip: "application/json",
  big: "application/x-log",
};

function echoes(random: Random, isFull: boolean): Echo[] {
  const names = Object.keys(ENCODERS);
  const pieces = isFull ? 10 : 0;
  return [
    ...names.flatMap((encoder) =>
      KINDS.flatMap((kind) =>
        [undefined, ...Array.from({ length: pieces }, () => random.below(60) - 2)].map((cut): Echo => ({
          encoder,
          kind,
          cut,
        })),
      ),
    ),
    ...names
      .filter((encoder) => !/lines|soft|UTF-16/.test(encoder))
      .map((encoder): Echo => ({ encoder, kind: "header", cut: undefined })),
    { encoder: "base64url", kind: "header name", cut: undefined },
    ...[3, 9, 14, 20].map((cut): Echo => ({ encoder: "plain", kind: "ranges", cut })),
    ...(isFull
      ? ["plain", "base64", "JSON, all escaped"].map((encoder): Echo => ({ encoder, kind: "big", cut: undefined }))
      : []),
  ];
}

export const secretEchoes = family<Echo>(
  "secret echoes",
  "the company's credential, from an upstream that answers with what it was sent, as some software writes it",
  (random, size) => echoes(random, size === "full"),
  async (lab, inputs) => {
    const agents = await lab.crowd(["vault:public:read"], inputs.length);
    const through: string[] = [];
    const harmless = "the quick brown fox, 3 < 4 && \"5\" = '5' / %41 &amp; =3D \\u0041 ";
    lab.upstream.answers.set(
      "control",
      (_, response) => void response.writeHead(200, { "content-type": "text/plain" }).end(harmless),
    );
    const control = await lab.send({ target: "/proxy/vault/public/1", token: agents(0).token, tag: "control" });
    mustBe("an answer without a secret", control.body.toString(), harmless);

    await lab.each(inputs, async ({ encoder, kind, cut }, index) => {
      const tag = `e${index}`;
      const secret = ENCODERS[encoder]!(CREDENTIAL);
      const wide = encoder.startsWith("UTF-16");
      const filler = (text: string) =>
        wide ? Buffer.from(text, encoder.includes("little") ? "utf16le" : "latin1") : Buffer.from(text);
      const before = filler(kind === "big" ? "x ".repeat(700_000) : wide ? "padding." : '{"seen": "');
      const pieces = [Buffer.concat([before, secret, filler(wide ? "." : '" }')])];
      lab.upstream.answers.set(tag, (request, response) => {
        const type = TYPES[kind];
        if (kind === "header") return void response.writeHead(200, ["X-Seen", secret.toString("latin1")]).end("{}");
        if (kind === "header name") {
          const name = `X-${secret.toString("latin1").replace(/[^\w!#$%&'*+.^`|~-]/g, "-")}`;
          return void response.writeHead(200, [name, "1"]).end("{}");
        }
        // An upstream answers in ranges only if it is asked for them.
        if (kind === "ranges" && request.headers.range?.includes(",")) {
          const [first, second] = [CREDENTIAL.slice(0, cut), CREDENTIAL.slice(cut)];
          const part = (text: string, from: number) =>
            `--b\r\nContent-Type: text/plain\r\nContent-Range: bytes ${from}-${from + text.length - 1}/26\r\n\r\n${text}\r\n`;
          return void response
            .writeHead(206, { "content-type": "multipart/byteranges; boundary=b" })
            .end(`${part(first, 0)}${part(second, cut ?? 0)}--b--\r\n`);
        }
        const headers = {
          ...(type && { "content-type": type }),
          ...(kind === "gzip" && { "content-encoding": "gzip" }),
        };
        if (cut === undefined || kind === "gzip") {
          const whole = kind === "gzip" ? gzipSync(pieces[0]!) : pieces[0]!;
          return void response.writeHead(200, { ...headers, "content-length": whole.length }).end(whole);
        }
        const at = Math.max(1, before.length + cut);
        response.writeHead(200, headers);
        response.write(pieces[0]!.subarray(0, at));
        setTimeout(() => response.end(pieces[0]!.subarray(at)), 5);
      });
      const headers =
        kind === "gzip" ? ["Accept-Encoding: identity"] : kind === "ranges" ? ["Range: bytes=0-9,10-25"] : [];
      const answer = await lab.send({ target: "/proxy/vault/public/1", token: agents(index).token, tag, headers });
      if (kind === "ranges") {
        const text = answer.body.toString();
        if (text.includes(CREDENTIAL.slice(0, cut)) && text.includes(CREDENTIAL.slice(cut)))
          through.push(`${kind}, cut at ${cut}`);
        return;
      }
      if (kind === "header" || kind === "header name") {
        const isSeen = answer.headers.some(
          ([name, value]) =>
            value === secret.toString("latin1") ||
            (kind === "header name" &&
              secret
                .toString("latin1")
                .toLowerCase()
                .replace(/[^\w!#$%&'*+.^`|~-]/g, "-") === name.slice(2)),
        );
        if (isSeen) through.push(`${kind}, ${encoder}`);
        return;
      }
      // More than half of it is as good as all.
      const half = secret.subarray(0, Math.ceil(secret.length * 0.6));
      if (answer.body.includes(half)) through.push(`${kind}, ${encoder}, cut at ${String(cut)}`);
    });
    return { through };
  },
);

interface Bomb {
  readonly service: "zendesk" | "vault";
  readonly megabytes: number;
  readonly type: string;
}

/** What an answer may cost, in milliseconds of CPU, and bring, in megabytes. */
const MAX_BOMB_CPU_MS = 3000;
const MAX_UNPACKED_MB = 100;

export const bombs = family<Bomb>(
  "gzip bombs",
  "seconds of the gateway's CPU for a megabyte sent",
  (_, size) =>
    (size === "full" ? [256, 512, 1024] : [256]).flatMap((megabytes) =>
      (["zendesk", "vault"] as const).flatMap((service) =>
        (size === "full" ? ["application/json", "text/plain"] : ["application/json"]).map((type) => ({
          service,
          megabytes,
          type,
        })),
      ),
    ),
  async (lab, inputs) => {
    const { token } = await lab.agent(["vault:public:read", "zendesk:tickets:read"]);
    const through: string[] = [];
    const made = new Map<number, Buffer>();
    for (const [index, { service, megabytes, type }] of inputs.entries()) {
      const tag = `b${index}`;
      const bomb = made.get(megabytes) ?? (await zeros(megabytes));
      made.set(megabytes, bomb);
      lab.upstream.answers.set(
        tag,
        (_, response) =>
          void response
            .writeHead(200, { "content-type": type, "content-encoding": "gzip", "content-length": bomb.length })
            .end(bomb),
      );
      const before = cpuMs(lab.own?.pid);
      const target = service === "vault" ? "/proxy/vault/public/1" : "/proxy/zendesk/api/v2/tickets";
      // It takes what the gateway unpacks and does not itself: what is measured is the gateway.
      const { status, body, headers } = await lab.send({ target, token, tag, headers: ["Accept-Encoding: identity"] });
      const spent = before === undefined ? undefined : cpuMs(lab.own?.pid)! - before;
      const packed = valuesOf(headers, "content-encoding").length > 0;
      if (!packed && body.length > MAX_UNPACKED_MB * 1e6)
        through.push(`${service} ${type}: ${megabytes} MB passed, ${status}`);
      else if (spent !== undefined && spent > MAX_BOMB_CPU_MS)
        through.push(`${service} ${type}: ${megabytes} MB cost ${Math.round(spent)} ms, ${status}`);
    }
    return {
      through,
      skipped:
        lab.own && cpuMs(lab.own.pid) !== undefined
          ? []
          : ["The CPU of a gateway that runs elsewhere is not measured."],
    };
  },
);

function zeros(megabytes: number): Promise<Buffer> {
  return new Promise((resolve) => {
    const gzip = createGzip({ level: 9 });
    const chunks: Buffer[] = [];
    gzip.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => resolve(Buffer.concat(chunks)));
    const piece = Buffer.alloc(1024 * 1024, " ");
    let left = megabytes;
    const write = () => {
      while (left > 0) if (left-- && !gzip.write(piece)) return void gzip.once("drain", write);
      gzip.end();
    };
    write();
  });
}

/** Milliseconds of CPU that a process has used; undefined if the system does not report it. */
function cpuMs(pid: number | undefined): number | undefined {
  if (pid === undefined) return undefined;
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10;
  } catch {
    return undefined;
  }
}
