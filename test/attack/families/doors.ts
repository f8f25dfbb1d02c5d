import { family, shown } from "../family.ts";
import { labOf, mustBe } from "../lab.ts";
import { startGateway } from "../gateway.ts";
import type { Random } from "../random.ts";

interface Door {
  readonly lines: readonly string[];
  readonly path: string;
}

const EVIL_HOSTS = [
  "evil.example", "evil.example:8787", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example.", "127.0.0.1.nip.io", "10.0.0.1", "169.254.169.254", "192.168.0.1", "0.0.0.0", "0.0.0.0:PORT", "[::]", "[fe80::1]", "notlocalhost",
  "localhost.", "evil.localhost", "localhost@evil.example", "evil.example#localhost", "evil.example?localhost", "evil.example/localhost", "evil.example\\localhost", "[::ffff:10.0.0.1]", "xn--localhost-0ra", "localhost%00.evil.example", "LOCALHOST.evil.example", "agentauth.example.com",
]; // prettier-ignore
const EVIL_ORIGINS = [
  "http://evil.example", "https://evil.example", "null", "http://127.0.0.1.evil.example", "http://localhost.evil.example:8787", "http://evil.example:PORT", "file://", "chrome-extension://abc", "http://localhost@evil.example", "http://10.0.0.1", "http://[::]",
  "http://evil.example/http://localhost", "https://localhost.evil.example", "http://127.0.0.1:PORT.evil.example", "http://evil-localhost", "evil.example", "http://localhost evil.example",
]; // prettier-ignore
const PATHS = [
  "/proxy/vault/public/1",
  "/agents",
  "/health",
  "/.well-known/jwks.json",
  "/permissions/list",
  "/webhooks/events",
];

export const doors = family<Door>(
  "hosts and origins in development",
  "a developer's gateway, from a page in the developer's browser",
  (random, size) => {
    const ways = [
      ...EVIL_HOSTS.map((host) => [`Host: ${host}`]),
      ...EVIL_ORIGINS.map((origin) => ["Host: 127.0.0.1:PORT", `Origin: ${origin}`]),
      ...EVIL_ORIGINS.map((origin) => [
        "Host: 127.0.0.1:PORT",
        `Origin: ${origin}`,
        "MF-Original-URL: http://127.0.0.1:PORT/",
      ]),
    ];
    const all = PATHS.flatMap((path) => ways.map((lines): Door => ({ lines, path })));
    return size === "full" ? all : all.filter(() => random.chance(0.25));
  },
  async (lab, inputs) => {
    const { token } = await lab.agent(["vault:public:read"]);
    const send = (path: string, lines: readonly string[]) => {
      const head = [
        `GET ${path} HTTP/1.1`,
        ...lines,
        `Authorization: Bearer ${path === "/agents" ? lab.admin.token : token}`,
        "Connection: close",
        "",
        "",
      ];
      return lab.raw(head.join("\r\n").replaceAll("PORT", String(lab.port)));
    };
    for (const host of ["127.0.0.1:PORT", "localhost:PORT", "[::1]:PORT"])
      mustBe(`a request to ${host}`, (await send("/health", [`Host: ${host}`])).status, 200);
    const through: string[] = [];
    await lab.each(inputs, async ({ lines, path }) => {
      const { status, text } = await send(path, lines);
      if (status < 400 || /x-agentauth-upstream/i.test(text))
        through.push(`${shown(lines.join(" | "))} ${path}: ${status}`);
    });
    return { through };
  },
);

const BAD_HOSTS = [
  "", " ", "[", "[::1", "::1", "a b", "a:b", "a:99999", ":80", "a:-1", "[::g]", "%", "%zz", "a%00b", "<>", "a|b", "a^b", "a\\b", "http://a", "a/b", "a?b", "a#b", "@", "a@b", "a:80:80", ".", "..", "a..b", "\u00e9", "\ufffd", "xn--", "xn--a-\u00e9",
  "a".repeat(300), "1.2.3.4.5", "256.256.256.256", "0x7f.1", "[v1.a]", "[::1]x", "a,b", "a;b", "\"a\"", "*", "~", "`", "{a}", "a\tb", "[127.0.0.1]", "127.1:PORT:1",
]; // prettier-ignore

export const badHosts = family<{ host: string; path: string }>(
  "malformed Host",
  "an error that nothing handles",
  () =>
    BAD_HOSTS.flatMap((host) =>
      ["/health", "/proxy/vault/public/1", "/nothing", "/agents?limit=x", "/docs"].map((path) => ({ host, path })),
    ),
  async (lab, inputs) => {
    const through: string[] = [];
    await lab.each(inputs, async ({ host, path }) => {
      const { status, body } = await lab.raw(
        Buffer.from(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`),
      );
      if (status >= 500) through.push(`${shown(host)} ${path}: ${status} ${shown(body, 60)}`);
    });
    return { through };
  },
);

/** Code points that show nothing, or turn what stands beside them. */
const INVISIBLE: readonly number[] = [
  0x00ad, 0x034f, 0x061c, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x180b, 0x180c, 0x180d, 0x180e, 0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2060, 0x2061, 0x2062, 0x2063, 0x2064, 0x2065, 0x2066, 0x2067,
  0x2068, 0x2069, 0x206a, 0x206b, 0x206c, 0x206d, 0x206e, 0x206f, 0x3164, 0xfeff, 0xffa0, 0xfff9, 0xfffa, 0xfffb, 0x1d173, 0x1d17a, 0xe0001, ...Array.from({ length: 96 }, (_, index) => 0xe0020 + index), 0xe0100, 0xe01ef, 0x0000, 0x0007, 0x0008, 0x000a, 0x000d, 0x001b, 0x007f, 0x0085, 0x009f,
]; // prettier-ignore

export const names = family<string>(
  "names",
  "an owner who reads another name than the one that is there, or none",
  (random: Random, size) => {
    const all = [
      ...INVISIBLE.flatMap((code) => [`Bil${String.fromCodePoint(code)}ling`, `${String.fromCodePoint(code)}Billing agent`]),
      "\u200b\u200b\u200b", "\u2800\u2800\u2800", "\u3164\u3164\u3164", "\u00a0\u00a0\u00a0", "\u2003\u2003\u2003", "\u3000\u3000\u3000", "\u0301\u0301\u0301", "\ufe0f\ufe0f\ufe0f", "\u200e \u200e", "\u115f\u1160\u115f",
    ]; // prettier-ignore
    return size === "full" ? all : all.filter(() => random.chance(0.3));
  },
  async (lab, inputs) => {
    const register = (name: string) =>
      lab.call("POST", "/agents/register", {
        token: lab.admin.token,
        headers: [`CF-Connecting-IP: ${lab.address()}`],
        json: { name, owner_email: "attack@example.com", permissions: ["vault:public:read"] },
      });
    for (const name of ["Billing agent", "Zahlungsprüfer Süd", "支払い担当", "وكيل الفواتير"])
      mustBe(name, (await register(name)).status, 201);
    const through: string[] = [];
    await lab.each(inputs, async (name) => {
      const { status, body } = await register(name);
      // Trimmed away is as good as refused.
      if (status === 201 && !/^[\w ]+$/.test(body.agent.name as string)) through.push(shown(name));
    });
    return { through };
  },
);

/** Attempts a minute for one address (docs/security.md, "guess an API key"). */
const ADDRESS_LIMIT = 300;

const NETWORKS = ["2001:db8:1:2", "2001:DB8:0001:0002", "2001:0db8:1:2"];

export const addresses = family<string>(
  "addresses of one /64",
  "more attempts a minute than an address has, from the addresses that every host with IPv6 has",
  (random, size) =>
    Array.from({ length: size === "full" ? 1200 : 330 }, (_, index) => {
      const host = Array.from({ length: 4 }, () => random.below(65_536).toString(16)).join(":");
      return index % 5 === 0
        ? `2001:db8:1:2::${random.below(65_535).toString(16)}`
        : `${random.pick(NETWORKS)}:${host}`;
    }),
  async (lab, inputs) => {
    if (!lab.own)
      return {
        through: [],
        isUntried: true,
        skipped: ["The limits of a gateway that runs elsewhere are those of its own configuration."],
      };
    // The limits that the configuration has, which the other families' gateway does not keep.
    const gateway = await startGateway(lab.upstream, { limits: "real" });
    try {
      const limited = await labOf({ ...lab, ...gateway });
      const began = Date.now();
      let passed = 0;
      await limited.each(inputs, async (address, index) => {
        const { status } = await limited.call("POST", "/agents/verify", {
          // Another agent and another key each time: both have limits of their own.
          json: { agent_id: `agt_${index}`, api_key: `ak_${index}` },
          headers: [`CF-Connecting-IP: ${address}`],
        });
        if (status !== 429) passed++;
      });
      mustBe("attempts are answered", passed > 0, true);
      // The limiter counts by the minute of the clock.
      const minutes = Math.floor(Date.now() / 60_000) - Math.floor(began / 60_000) + 1;
      const allowed = minutes * ADDRESS_LIMIT;
      const more = Array.from({ length: Math.max(0, passed - allowed) });
      return { through: more.map((_, index) => `attempt ${allowed + index + 1} in ${minutes} min`) };
    } finally {
      await gateway.stop();
    }
  },
);
