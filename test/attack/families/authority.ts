import { createHash, createHmac, generateKeyPairSync, randomUUID, sign as signWith } from "node:crypto";
import { connect } from "node:net";
import { family } from "../family.ts";
import { mustBe, type AttackAgent, type Lab } from "../lab.ts";
import { tagHeader } from "../upstream.ts";

/** Every way to end what an agent may. */
const ENDINGS = [
  "revoked",
  "suspended",
  "made inactive",
  "deleted",
  "tokens revoked",
  "key rotated",
  "session ended",
  "permissions taken",
  "reinstated",
] as const;
type Ending = (typeof ENDINGS)[number];

async function end(lab: Lab, { id, token, refreshToken }: AttackAgent, how: Ending): Promise<void> {
  const admin = lab.admin.token;
  const ok = async (answer: Promise<{ status: number }>) => mustBe(`an agent is ${how}`, (await answer).status, 200);
  const status = (value: string) =>
    ok(lab.call("PUT", `/agents/${id}/status`, { token: admin, json: { status: value } }));
  const refresh = async () =>
    lab.call("POST", "/agents/refresh", {
      json: { refresh_token: refreshToken },
      headers: [`CF-Connecting-IP: ${lab.address()}`],
    });
  switch (how) {
    case "revoked":
      return ok(lab.call("POST", `/agents/${id}/revoke`, { token: admin }));
    case "suspended":
      return status("suspended");
    case "made inactive":
      return status("inactive");
    case "reinstated":
      await status("suspended");
      return status("active");
    case "deleted":
      return ok(lab.call("DELETE", `/agents/${id}`, { token: admin }));
    case "tokens revoked":
      return ok(lab.call("POST", "/agents/revoke-tokens", { token }));
    case "key rotated":
      // With its key: the attack may take longer than a token proves that its administrator has just shown it.
      return ok(
        lab.call("POST", `/agents/${id}/rotate-key`, {
          token: admin,
          json: { overlap_seconds: 0, api_key: lab.admin.apiKey },
        }),
      );
    case "session ended":
      // A refresh token that is used twice beyond the grace ends its session. The attack's own gateway has no grace.
      await refresh();
      if (lab.refreshGraceMs > 0) await new Promise((resolve) => setTimeout(resolve, lab.refreshGraceMs + 500));
      return mustBe("a second use of a refresh token", (await refresh()).status, 401);
    case "permissions taken":
      return ok(
        lab.call("PUT", `/agents/${id}/permissions`, { token: admin, json: { permissions: ["zendesk:tickets:read"] } }),
      );
  }
}

/** A route that writes, as an agent with everything sends it. OWN and OTHER stand for agents, HOOK for a webhook of the caller's. */
interface Held {
  readonly route: string;
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly as: "admin" | "agent";
  readonly ending: Ending;
}

const JSON_ROUTES: ReadonlyArray<readonly [method: string, path: string, body: object, as: Held["as"]]> = [
  ["POST", "/agents/register", { name: "Held", owner_email: "held@example.com", permissions: ["*:*:*"] }, "admin"],
  ["POST", "/agents/OWN/rotate-key", { overlap_seconds: 0 }, "agent"],
  ["POST", "/agents/OTHER/rotate-key", { overlap_seconds: 0 }, "admin"],
  ["PUT", "/agents/OTHER/permissions", { permissions: ["*:*:*"] }, "admin"],
  ["PUT", "/agents/OTHER/tier", { tier: "pro" }, "admin"],
  ["PUT", "/agents/OTHER/status", { status: "suspended" }, "admin"],
  ["POST", "/agents/OTHER/revoke", {}, "admin"],
  ["DELETE", "/agents/OTHER", {}, "admin"],
  ["POST", "/agents/revoke-tokens", {}, "agent"],
  ["POST", "/webhooks", { url: "UP/hooks/held", events: ["agent.verified"] }, "agent"],
  ["PUT", "/webhooks/HOOK", { description: "changed" }, "agent"],
  ["POST", "/webhooks/HOOK/regenerate-secret", { overlap_seconds: 0 }, "agent"],
  ["POST", "/webhooks/HOOK/test", {}, "agent"],
  ["DELETE", "/webhooks/HOOK", {}, "agent"],
];
const PROXIED: ReadonlyArray<readonly [route: string, path: string, length: number]> = [
  ["a checked body", "/proxy/slack/api/chat.postMessage", 40],
  ["a short body", "/proxy/vault/public/1", 40],
  ["a streamed body", "/proxy/vault/public/1", 200_000],
];
const RIGHTS = ["slack:messages:write", "vault:public:write", "zendesk:tickets:read"];

const heldInputs = (isFull: boolean): Held[] => {
  // What an agent may do to itself needs no permission, so that taking them ends nothing.
  const counts = (ending: Ending, as: Held["as"]) => as === "admin" || ending !== "permissions taken";
  const own = JSON_ROUTES.flatMap(([method, path, body, as]) =>
    ENDINGS.filter((ending) => counts(ending, as)).map((ending): Held => ({
      route: `${method} ${path}`,
      method,
      path,
      body: JSON.stringify(body),
      as,
      ending,
    })),
  );
  const proxied = PROXIED.flatMap(([route, path, length]) =>
    ENDINGS.map((ending): Held => ({
      route,
      method: "POST",
      path,
      body: JSON.stringify({ text: "x".repeat(length) }),
      as: "agent",
      ending,
    })),
  );
  return [...own, ...proxied].filter((_, index) => isFull || index % 6 === 0);
};

/** Sends all of a request but its last bytes; the answer comes when `release` has sent them. */
function hold(
  lab: Lab,
  method: string,
  path: string,
  body: string,
  headers: readonly string[],
): Promise<{ release(): Promise<string> }> {
  const bytes = Buffer.from(body);
  const kept = bytes.subarray(bytes.length - 1);
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${lab.port}`,
    ...headers,
    "Content-Type: application/json",
    `Content-Length: ${bytes.length}`,
    "Connection: close",
    "",
    "",
  ];
  return new Promise((resolve) => {
    const received: Buffer[] = [];
    const socket = connect(lab.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.on("data", (data: Buffer) => received.push(data));
    const closed = new Promise<void>((done) => socket.once("close", () => done()));
    socket.setTimeout(20_000, () => socket.destroy());
    socket.write(Buffer.concat([Buffer.from(lines.join("\r\n")), bytes.subarray(0, -1)]), () => {
      // The gateway is given the time to look at who asks, if it does so before the body has come.
      setTimeout(
        () =>
          resolve({
            async release() {
              if (!socket.destroyed) socket.write(kept);
              await closed;
              return Buffer.concat(received).toString("latin1");
            },
          }),
        250,
      );
    });
  });
}

const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0);

export const heldBodies = family<Held>(
  "held bodies",
  "to write after the end, with a request that began before it and kept its last byte back",
  (_, size) => heldInputs(size === "full"),
  async (lab, inputs) => {
    const through: string[] = [];
    await lab.each(
      inputs,
      async ({ route, method, path, body, as, ending }, index) => {
        const tag = `held${index}`;
        const caller = await lab.agent(as === "admin" ? ["*:*:*"] : RIGHTS);
        const other = path.includes("OTHER") ? await lab.agent(RIGHTS) : caller;
        const hook = path.includes("HOOK")
          ? await lab.call("POST", "/webhooks", {
              token: caller.token,
              json: { url: `${lab.upstream.url}/hooks/x`, events: ["agent.verified"] },
            })
          : undefined;
        const filled = path
          .replace("OWN", caller.id)
          .replace("OTHER", other.id)
          .replace("HOOK", hook?.body.webhook.id ?? "");
        const headers = [
          `Authorization: Bearer ${caller.token}`,
          `Accept: ${tagHeader(tag)}`,
          `CF-Connecting-IP: ${lab.address()}`,
        ];
        const held = await hold(lab, method, filled, body.replace("UP", lab.upstream.url), headers);
        await end(lab, caller, ending);
        if (path.startsWith("/proxy")) await new Promise((resolve) => setTimeout(resolve, lab.standingTtlMs + 100));
        const status = statusOf(await held.release());
        const arrived = lab.upstream.tagged(tag).some(({ whole }) => whole);
        if (path.startsWith("/proxy") ? arrived : status >= 200 && status < 300)
          through.push(`${route}, ${ending}: ${status}`);
      },
      12,
    );

    // The same without a token: a former key's verification, and a refresh token that the session's end has overtaken.
    const [former, ended] = [await lab.agent(RIGHTS), await lab.agent(RIGHTS)];
    const from = [`CF-Connecting-IP: ${lab.address()}`];
    const verify = await hold(
      lab,
      "POST",
      "/agents/verify",
      JSON.stringify({ agent_id: former.id, api_key: former.apiKey }),
      from,
    );
    const refresh = await hold(
      lab,
      "POST",
      "/agents/refresh",
      JSON.stringify({ refresh_token: ended.refreshToken }),
      from,
    );
    await end(lab, former, "key rotated");
    await end(lab, ended, "tokens revoked");
    if (statusOf(await verify.release()) === 200) through.push("POST /agents/verify with a former key");
    if (statusOf(await refresh.release()) === 200) through.push("POST /agents/refresh of an ended session");
    return { through };
  },
);

const b64 = (value: unknown): string =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

/** The order of P-256: `s` and `ORDER - s` are signatures of the same text. */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

type Forge = (token: string, keys: { jwk: Record<string, string> }) => string;

const { privateKey: theirs, publicKey: theirPublic } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const signed = (header: object, claims: object): string => {
  const text = `${b64(header)}.${b64(claims)}`;
  return `${text}.${signWith("sha256", Buffer.from(text), { key: theirs, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
};
const partsOf = (token: string) => {
  const [head = "", payload = "", signature = ""] = token.split(".");
  const read = (text: string) => JSON.parse(Buffer.from(text, "base64url").toString()) as Record<string, unknown>;
  return { head, payload, signature, header: read(head), claims: read(payload) };
};
const admin = (claims: object) => ({ ...claims, scope: "*:*:*", tier: "enterprise" });
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/** The other letters that decode to the same bytes at the end of a base64url text. */
const lastLetters = (text: string): string[] => {
  const bytes = Buffer.from(text, "base64url");
  return [...ALPHABET]
    .map((letter) => text.slice(0, -1) + letter)
    .filter((other) => other !== text && Buffer.from(other, "base64url").equals(bytes));
};

const FORGERIES: Readonly<Record<string, Forge>> = {
  ...Object.fromEntries(["none", "None", "NONE", "nOnE", "", "HS256", "RS256", "ES384", "EdDSA", "es256"].map((alg) => [`alg ${alg || "empty"}`, (token: string) => { const { header, claims, signature } = partsOf(token); return `${b64({ ...header, alg })}.${b64(admin(claims))}.${signature}`; }])),
  ...Object.fromEntries(["none", "None", ""].map((alg) => [`alg ${alg || "empty"}, unsigned`, (token: string) => { const { header, claims } = partsOf(token); return `${b64({ ...header, alg })}.${b64(admin(claims))}.`; }])),
  "raised claims under the old signature": (token) => { const { head, claims, signature } = partsOf(token); return `${head}.${b64(admin(claims))}.${signature}`; },
  "our kid, another key": (token) => { const { header, claims } = partsOf(token); return signed(header, admin(claims)); },
  "an embedded jwk": (token) => { const { header, claims } = partsOf(token); return signed({ ...header, jwk: theirPublic.export({ format: "jwk" }) }, admin(claims)); },
  "an embedded jwk without a kid": (token) => { const { claims } = partsOf(token); return signed({ alg: "ES256", typ: "at+jwt", jwk: theirPublic.export({ format: "jwk" }) }, admin(claims)); },
  "a jku": (token) => { const { header, claims } = partsOf(token); return signed({ ...header, jku: "http://127.0.0.1:1/jwks" }, admin(claims)); },
  "an x5u": (token) => { const { header, claims } = partsOf(token); return signed({ ...header, x5u: "http://127.0.0.1:1/x" }, admin(claims)); },
  "a kid that is a path": (token) => { const { header, claims } = partsOf(token); return signed({ ...header, kid: "../../dev/null" }, admin(claims)); },
  "an unknown kid": (token) => { const { header, claims } = partsOf(token); return signed({ ...header, kid: "theirs" }, admin(claims)); },
  "HS256 with the public key": (token, { jwk }) => { const { header, claims } = partsOf(token); const text = `${b64({ ...header, alg: "HS256" })}.${b64(admin(claims))}`; return `${text}.${createHmac("sha256", JSON.stringify(jwk)).update(text).digest("base64url")}`; },
  "HS256 with x": (token, { jwk }) => { const { header, claims } = partsOf(token); const text = `${b64({ ...header, alg: "HS256" })}.${b64(admin(claims))}`; return `${text}.${createHmac("sha256", jwk.x ?? "").update(text).digest("base64url")}`; },
  "a signature of zeros": (token) => { const { head, claims } = partsOf(token); return `${head}.${b64(admin(claims))}.${Buffer.alloc(64).toString("base64url")}`; },
  "a DER signature": (token) => { const { head, payload } = partsOf(token); const der = signWith("sha256", Buffer.from(`${head}.${payload}`), theirs); return `${head}.${payload}.${der.toString("base64url")}`; },
  "no signature": (token) => { const { head, payload } = partsOf(token); return `${head}.${payload}.`; },
  "two parts": (token) => token.split(".").slice(0, 2).join("."),
  "four parts": (token) => `${token}.x`,
  "the JWS JSON serialisation": (token) => { const { head, payload, signature } = partsOf(token); return b64({ protected: head, payload, signature }); },
  "a hash of the token": (token) => createHash("sha256").update(token).digest("base64url"),
  "a twin: = at the end": (token) => `${token}=`,
  "a twin: == at the end": (token) => `${token}==`,
  "a twin: + and /": (token) => token.replaceAll("-", "+").replaceAll("_", "/") + (/[-_]/.test(token) ? "" : "="),
  "a twin: other bits at the signature's end": (token) => lastLetters(token)[0] ?? `${token}=`,
  "a twin: other bits at the payload's end": (token) => { const { head, payload, signature } = partsOf(token); return `${head}.${lastLetters(payload)[0] ?? `${payload}=`}.${signature}`; },
  "a twin: other bits at the header's end": (token) => { const { head, payload, signature } = partsOf(token); return `${lastLetters(head)[0] ?? `${head}=`}.${payload}.${signature}`; },
  "a twin: a space in it": (token) => token.replace(".", ". "),
  "a twin: a tab behind it": (token) => `${token}\tx`,
  "two tokens": (token) => `${token} ${token}`,
  "two tokens with a comma": (token) => `${token}, Bearer ${token}`,
  "an agent's id": (token) => String(partsOf(token).claims.sub),
  "a random UUID": () => randomUUID(),
}; // prettier-ignore

/**
 * ECDSA has two signatures for one text, and a verifier may take both (RFC 7518 §3.4 asks for no more). What must not be is that
 * the other one lives on.
 */
function twinOf(token: string): string {
  const { head, payload, signature } = partsOf(token);
  const bytes = Buffer.from(signature, "base64url");
  const s = BigInt(`0x${bytes.subarray(32).toString("hex")}`);
  const negative = Buffer.from((ORDER - s).toString(16).padStart(64, "0"), "hex");
  return `${head}.${payload}.${Buffer.concat([bytes.subarray(0, 32), negative]).toString("base64url")}`;
}

interface Token {
  readonly name: string;
  readonly ending?: Ending;
  /** Whether its twin is what is used, before and after. */
  readonly isTwin?: boolean;
}

export const tokens = family<Token>(
  "tokens",
  "to be somebody by a token that is forged, stale, or another spelling of one",
  () => [
    ...Object.keys(FORGERIES).map((name) => ({ name })),
    ...ENDINGS.map((ending): Token => ({ name: `an agent's that was ${ending}`, ending })),
    ...ENDINGS.map((ending): Token => ({ name: `the twin of an agent's that was ${ending}`, ending, isTwin: true })),
  ],
  async (lab, inputs) => {
    const { body } = await lab.call("GET", "/.well-known/jwks.json");
    const keys = { jwk: body.keys[0] as Record<string, string> };
    const victim = await lab.agent(["vault:public:read", "vault:public:write"]);
    const reach = async (token: string, tag: string): Promise<string | undefined> => {
      const own = await lab.send({ target: `/agents/${partsOf(victim.token).claims.sub as string}`, token });
      if (own.status === 200) return "reads its agent";
      await lab.send({ target: "/proxy/vault/public/1", token, tag });
      await lab.send({
        method: "POST",
        target: "/proxy/vault/public/1",
        token,
        tag,
        body: "{}",
        headers: ["Content-Type: application/json"],
      });
      return lab.upstream.tagged(tag).length > 0 ? "calls its upstream" : undefined;
    };
    mustBe("a good token", await reach(victim.token, "control"), "reads its agent");
    const through: string[] = [];
    await lab.each(inputs, async ({ name, ending, isTwin }, index) => {
      const tag = `t${index}`;
      if (ending === undefined) {
        const forged = FORGERIES[name]!(victim.token, keys);
        const reached = forged === victim.token ? undefined : await reach(forged, tag);
        if (reached) through.push(`${name}: ${reached}`);
        return;
      }
      const stale = await lab.agent(["vault:public:read", "vault:public:write"]);
      const token = isTwin ? twinOf(stale.token) : stale.token;
      await lab.send({ target: "/proxy/vault/public/1", token: token });
      await end(lab, stale, ending);
      const write = {
        method: "POST",
        target: "/proxy/vault/public/1",
        tag,
        body: "{}",
        headers: ["Content-Type: application/json"],
      };
      await lab.send({ ...write, token: token });
      // Reads may go on for the published bound.
      await new Promise((resolve) => setTimeout(resolve, lab.standingTtlMs + 100));
      await lab.send({ target: "/proxy/vault/public/1", token: token, tag });
      const [arrived] = lab.upstream.tagged(tag);
      if (arrived) through.push(`${name}: a ${arrived.method} arrived`);
    });
    return { through };
  },
);

interface Race {
  readonly kind: "rotate and verify" | "refresh and refresh" | "revoke and write";
  readonly round: number;
}

export const races = family<Race>(
  "races",
  "tokens that outlive what ends them, or a session in two, by asking at the same time",
  (_, size) =>
    (["rotate and verify", "refresh and refresh", "revoke and write"] as const).flatMap((kind) =>
      Array.from({ length: size === "full" ? 12 : 1 }, (_, round): Race => ({ kind, round })),
    ),
  async (lab, inputs) => {
    const through: string[] = [];
    const from = () => [`CF-Connecting-IP: ${lab.address()}`];
    for (const { kind, round } of inputs) {
      const agent = await lab.agent(["vault:public:write"]);
      if (kind === "rotate and verify") {
        const issued: string[] = [];
        const verify = async () => {
          const { status, body } = await lab.call("POST", "/agents/verify", {
            json: { agent_id: agent.id, api_key: agent.apiKey },
            headers: from(),
          });
          if (status === 200) issued.push(body.token.access_token as string);
        };
        // Guesses at one agent's key are limited to 30 a minute.
        const verifying = lab.each(Array.from({ length: lab.isLimited ? 25 : 80 }), verify, 25);
        await new Promise((resolve) => setTimeout(resolve, 5 + 5 * (round % 4)));
        await Promise.all([verifying, end(lab, agent, "key rotated")]);
        await lab.each(issued, async (token) => {
          const { status } = await lab.call("GET", `/agents/${agent.id}`, { token });
          if (status === 200) through.push(`${kind}, ${round}: a token of the former key is alive`);
        });
      } else if (kind === "refresh and refresh") {
        const refresh = () =>
          lab.call("POST", "/agents/refresh", { json: { refresh_token: agent.refreshToken }, headers: from() });
        const answers = await Promise.all(Array.from({ length: 40 }, refresh));
        const successors = new Set(
          answers.filter(({ status }) => status === 200).map(({ body }) => body.token.refresh_token as string),
        );
        if (successors.size > 1) through.push(`${kind}, ${round}: ${successors.size} successors`);
      } else {
        const tag = `race${round}`;
        let isOver = false;
        let late = 0;
        const write = async () => {
          const beganLate = isOver;
          const own = `${tag}-${beganLate ? "late" : "early"}`;
          if (beganLate) late++;
          await lab.send({
            method: "POST",
            target: "/proxy/vault/public/1",
            token: agent.token,
            tag: own,
            body: "{}",
            headers: ["Content-Type: application/json"],
          });
        };
        const writing = lab.each(Array.from({ length: 120 }), write, 40);
        await new Promise((resolve) => setTimeout(resolve, 20));
        await end(lab, agent, "revoked");
        isOver = true;
        await writing;
        const arrived = lab.upstream.tagged(`${tag}-late`).length;
        if (arrived > 0)
          through.push(`${kind}, ${round}: ${arrived} of ${late} writes that began after the answer arrived`);
        if (late === 0) await write();
      }
    }
    return { through };
  },
);
