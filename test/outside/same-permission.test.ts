// @module-tag slow
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { resolveRequest, upstreamUrl } from "../../src/policy/resolve.ts";
import { explain } from "../../src/policy/explain.ts";
import { BUILT_IN_SERVICES, loadServices } from "../../src/policy/services.ts";
import { BUILT_IN_CATALOGUE, listService } from "../../src/permissions/catalogue.ts";
import { extents } from "../support/extents.ts";
import "../support/seed.ts";
import { sendRaw, startRecorder, type Recorder } from "./support/recorder.ts";
import { startWorker, type Worker } from "./support/worker.ts";

/** Whatever is sent: what the upstream gets needs just the permission that was checked. */
const ODD = {
  base_url: "https://odd.example/api/v1",
  resources: { files: ["read", "write"], notes: ["read", "write"] },
  rules: [
    "GET /files/{path...} files",
    "PUT /files/{path...} files",
    "GET /branches/{name:text} files",
    "GET /branches/{name:text}/notes notes",
    "GET /by/{id:int} notes",
    "GET /by/{id:uuid} files",
    "* /a.b/{x:one|two} notes",
    "GET /models/{model:name} files",
    "POST /models/{model:name}:run notes",
    "GET /lists/{name}.json files",
    "GET /slashed/ files",
    "GET /slashed notes",
  ],
};
const names = [...BUILT_IN_SERVICES.map(({ name }) => name), "odd"];
const settings = (origin: string | undefined) =>
  new Map(
    names.map((name) => [name, { ...(name === "odd" && ODD), base_url: origin ? `${origin}/${name}` : ODD.base_url }]),
  );
const { services, catalogue, faults } = loadServices(settings(undefined), BUILT_IN_CATALOGUE);
const HELD = names.flatMap((name) => listService(catalogue, name));

const NASTY = [
  "",
  ".",
  "..",
  "...",
  "%2e%2e",
  ".%2E",
  "%252e%252e",
  "%2f",
  "%2Fnotes",
  "m%3Arun",
  "a%2Fb",
  "..%2f..",
  "%5c",
  "a\\b",
  ";",
  "..;",
  "a;b=c",
  "x.",
  "x%20",
  "%20",
  "%00",
  "%0d%0a",
  "%",
  "%zz",
  "%ff",
  "%C3%A9",
  "é",
  "．．",
  "a%EF%BC%8F..",
  "..%23",
  "..%3Fx",
  "~",
  "*",
  "@",
  ":80",
  "$batch",
  "(1)",
  "'",
  "issues",
  "ISSUES",
  "issues.json",
  "tickets.json.json",
  "users",
  "repos",
  "search",
  "batch",
  "__proto__",
  "0-1",
  "api",
];
const nasty = fc.constantFrom(...NASTY);
const filler = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom("o", "r", "5", "7", "one", "001000000000000AAA", "v61.0", "contacts", "main"),
  },
  { weight: 1, arbitrary: nasty },
  { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom(..."ab.%/\\;2eEfF5cC~ é"), maxLength: 8 }) },
);
const query = fc.oneof(
  { weight: 4, arbitrary: fc.constant("") },
  fc.constantFrom(
    "?a=1",
    "?token=x",
    "?expand[]=customer",
    "?expand[0=customer",
    "?[include=users",
    "?include=users",
    "?_method=DELETE",
    "??",
    "?a=%2e%2e/..",
    "?x=é",
  ),
);

const EXAMPLES = ["5", "2026-03", "v61.0", "001000000000000AAA", "Key__c", "9f8b3a52-1c4d-4e6f-8a7b-0c1d2e3f4a5b"];

/** A request near one of the tables' lines. */
const crafted = fc
  .constantFrom(
    ...[...services.values()].flatMap((service) => service.table().rules.map((rule) => ({ service, rule }))),
  )
  .chain(({ service, rule }) =>
    fc.record({
      service: fc.constant(service.name),
      method: fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom(...rule.methods) },
        fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE", "get"),
      ),
      segments: fc.tuple(
        ...rule.segments.map((matcher) => {
          if (matcher.kind === "literal") return fc.oneof({ weight: 12, arbitrary: fc.constant(matcher.text) }, nasty);
          if (matcher.kind === "choice") return fc.constantFrom(...matcher.texts);
          const fits = matcher.kind === "type" ? EXAMPLES.filter((text) => matcher.pattern.test(text)) : [];
          if (fits.length > 0) return fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...fits) }, filler);
          return filler;
        }),
      ),
      more: fc.oneof({ weight: 5, arbitrary: fc.constant([]) }, fc.array(filler, { maxLength: 3 })),
      slash: fc.oneof({ weight: 4, arbitrary: fc.constant("") }, fc.constantFrom("/", "//")),
      encoded: fc.oneof({ weight: 3, arbitrary: fc.constant(-1) }, fc.nat({ max: 40 })),
      query,
    }),
  )
  .map(({ service, method, segments, more, slash, encoded, query: search }) => {
    const path = [...segments, ...more].map((segment) => `/${String(segment)}`).join("") + slash;
    const at = path[encoded] === "/" ? -1 : encoded;
    const code = path.charCodeAt(at);
    const hidden =
      code < 128 ? `${path.slice(0, at)}%${code.toString(16).padStart(2, "0")}${path.slice(at + 1)}` : path;
    return { service, method, target: hidden + search };
  });

const ask = (service: string, method: string, path: string) =>
  explain({ services, catalogue }, { service, method, path, permissions: HELD }).explanation;

describe("for any path and method", () => {
  for (const { numRuns, options } of extents(2000, 40_000)) {
    const title = `the URL that is built means what was checked, and nothing in it can be read otherwise: ${numRuns} requests`;
    it(title, options, () => buildUrls(numRuns));
  }

  function buildUrls(numRuns: number): void {
    expect(faults).toEqual([]);
    let judged = 0;
    fc.assert(
      fc.property(crafted, ({ service, method, target }) => {
        const resolved = resolveRequest(services, { service, method, target, headers: new Headers() });
        if (resolved.outcome === "refused") return;
        judged++;
        const origin = resolved.service.origin ?? "https://instance.example";
        const url = upstreamUrl(resolved, origin);
        expect(url.origin).toBe(origin);
        const below = url.pathname.slice(resolved.service.basePath.length);
        expect(below).not.toMatch(/\/\/|\\|;|%(?:2e|5c|00|25[0-9a-f]{2})|\/\.{1,2}(?:\/|$)|[. ](?:\/|$)|%20(?:\/|$)/i);
        const again = resolveRequest(services, { service, method, target: below + url.search, headers: new Headers() });
        expect(again).toMatchObject({ required: resolved.required, rule: resolved.rule, path: resolved.path });
      }),
      { numRuns },
    );
    expect(judged).toBeGreaterThan(numRuns / 4);
  }
});

describe("for any path and method over a socket", () => {
  let upstream: Recorder;
  let worker: Worker;
  const tokens = new Map<string, string>();

  beforeAll(async () => {
    upstream = await startRecorder();
    worker = await startWorker({
      ISSUER: "https://gateway.example",
      UPSTREAMS: JSON.stringify(Object.fromEntries(settings(upstream.url))),
      ...Object.fromEntries(
        names.map((name) => [`UPSTREAM_${name.toUpperCase()}_TOKEN`, `credential-of-${name}-0123456789`]),
      ),
    });
    await Promise.all(
      HELD.map(async (permission) => void tokens.set(permission, (await worker.agent([permission])).token)),
    );
  });
  afterAll(async () => {
    upstream?.close();
    await worker?.stop();
  });

  for (const { numRuns, options } of extents(100, 3000)) {
    const title = `the upstream gets only what the one permission of the agent covers, and as it was checked: ${numRuns} requests`;
    it(title, options, () => forward(numRuns));
  }

  async function forward(numRuns: number): Promise<void> {
    let forwarded = 0;
    await fc.assert(
      fc.asyncProperty(crafted, fc.nat(), async ({ service, method, target }, pick) => {
        const own = HELD.filter((permission) => permission.startsWith(`${service}:`));
        const needed = ask(service, method, target).all_required;
        // Mostly the permission that is needed, so that much goes through; else any of the service's.
        const held =
          pick % 4 > 0 && needed.length === 1 && tokens.has(needed[0]!) ? needed[0]! : own[pick % own.length]!;
        upstream.seen.splice(0);
        const lines = [`${method} /proxy/${service}${target} HTTP/1.1`, "Host: gateway.example"];
        const head = [...lines, `Authorization: Bearer ${tokens.get(held)}`, "Connection: close", "", ""];
        await sendRaw(worker.port, Buffer.from(head.join("\r\n")));
        expect(upstream.seen.length).toBeLessThanOrEqual(1);
        const [seen] = upstream.seen;
        if (!seen) return;
        forwarded++;
        expect(seen.target.startsWith(`/${service}`)).toBe(true);
        const got = ask(service, seen.method, seen.target.slice(service.length + 1));
        expect(got).toMatchObject({ required: held, all_required: [held], decision: "allow" });
        expect(seen.method).toBe(method);
        expect(new URL(seen.target, upstream.url).pathname).toBe(seen.target.split("?", 1)[0]);
      }),
      { numRuns },
    );
    expect(forwarded).toBeGreaterThan(numRuns / 8);
  }
});
