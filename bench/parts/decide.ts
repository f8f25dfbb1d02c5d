import { readOperations } from "../../scripts/operations.ts";
import type { GrantLimits } from "../../src/permissions/grant.ts";
import { missingPermissions } from "../../src/permissions/match.ts";
import { findGrants, judgeLimits } from "../../src/policy/judge.ts";
import { resolveRequest, type ProxyRequest } from "../../src/policy/resolve.ts";
import { loadServices } from "../../src/policy/services.ts";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { ratio, summary } from "../measure.ts";
import { by, claim, type Part } from "../part.ts";

/** How many rules an operator's own upstream has here. */
const SIZES = [10, 100, 1000, 10_000];
/** Requests that are asked of every table, spread evenly over its rules. */
const REQUESTS = 1000;

const upstream = (count: number) => ({
  base_url: "https://many.example",
  resources: { things: ["read", "write"] },
  rules: Array.from({ length: count }, (_, i) => `* /section-${i}/{id}/part-${i} things`),
});

/** A rule of which grants may limit every part of the path. */
const LIMITED_LINE = "GET /{one}/{two}/{three}/{four}/{five} things";
const LIMITED_FIELDS = ["path.one", "path.two", "path.three", "path.four", "path.five"];
const limitedUpstream = {
  ...upstream(0),
  rules: [LIMITED_LINE],
  limits: Object.fromEntries(LIMITED_FIELDS.map((field) => [field, { alone: [LIMITED_LINE], ignoresCase: true }])),
};

/** Deciding alone, in this process: path → rule → permission, for every operation that GitHub publishes. */
export const decide: Part = async ({ effort, log }) => {
  const { services, catalogue } = loadServices(
    new Map([["limited", limitedUpstream], ...SIZES.map((size) => [`rules-${size}`, upstream(size)] as const)]),
    BUILT_IN_CATALOGUE,
  );
  const headers = new Headers();
  const operations = readOperations("github");
  const requests: Record<string, ProxyRequest[]> = {
    github: operations.map(({ method, path }) => ({
      service: "github",
      method,
      target: path.replace(/\{[^{}]*\}/g, "1"),
      headers,
    })),
  };
  for (const size of SIZES) {
    requests[`rules-${size}`] = Array.from({ length: REQUESTS }, (_, i) => {
      const rule = Math.floor((i * size) / REQUESTS);
      return { service: `rules-${size}`, method: "GET", target: `/section-${rule}/12345/part-${rule}`, headers };
    });
  }
  /** The same ten requests over and over: what is left of the growth without the processor's cache misses. */
  requests["ten of 10,000"] = Array.from(
    { length: REQUESTS },
    (_, i) => requests["rules-10000"]![(i % 10) * (REQUESTS / 10)]!,
  );
  const covered = requests.github!.filter((request) => {
    const resolved = resolveRequest(services, request);
    return resolved.outcome === "resolved" && resolved.rule !== null;
  });
  requests["github covered"] = covered;
  const grants = new Set(["github:issues:read", "github:repos:*", ...SIZES.map((size) => `rules-${size}:things:read`)]);

  const outcomes = { allowed: 0, denied: 0, uncovered: 0, refused: 0 };
  for (const request of requests.github!) {
    const resolved = resolveRequest(services, request);
    if (resolved.outcome === "refused") outcomes.refused++;
    else if (resolved.rule === null) outcomes.uncovered++;
    else outcomes[missingPermissions(resolved.required, grants, catalogue).length === 0 ? "allowed" : "denied"]++;
  }

  /** Microseconds a decision, over so many rounds of all the requests. */
  const cost = (list: readonly ProxyRequest[], rounds: number): number => {
    const began = performance.now();
    for (let round = 0; round < rounds; round++) {
      for (const request of list) {
        const resolved = resolveRequest(services, request);
        if (resolved.outcome === "resolved") missingPermissions(resolved.required, grants, catalogue);
      }
    }
    return ((performance.now() - began) * 1000) / (rounds * list.length);
  };
  /** The same of one request whose permission is granted with or without limits, as the gateway decides it. */
  const judged = (where: GrantLimits["where"], rounds: number): number => {
    // The token and the agent have their limits from two JSON texts.
    const grants = () => [{ permission: "limited:things:read", where: structuredClone(where), expiresAt: null }];
    const permissions = new Set(where ? [] : ["limited:things:read"]);
    const holdings = { permissions, tokenGrants: grants(), agentGrants: [grants()] };
    const request = { service: "limited", method: "GET", target: "/octo/hello/main/docs/5?page=2", headers };
    const began = performance.now();
    for (let round = 0; round < rounds * REQUESTS; round++) {
      const resolved = resolveRequest(services, request);
      if (resolved.outcome === "refused") throw new Error(resolved.code);
      const found = findGrants(resolved.required, holdings, catalogue, 0);
      if (found.outcome !== "granted") throw new Error(found.outcome);
      if (judgeLimits(found.limited, resolved, { kind: "none" })) throw new Error("constraint_violated");
    }
    return ((performance.now() - began) * 1000) / (rounds * REQUESTS);
  };
  const values = ["octo", "HELLO", "main", "docs", "5"];
  const fiveLimits = Object.fromEntries(LIMITED_FIELDS.map((field, i) => [field, { in: ["other", values[i]!] }]));

  const repeats = by(effort, 2, 7, 21);
  const rounds = by(effort, 20, 60, 100);
  const samples: Record<string, number[]> = {};
  for (let repeat = -1; repeat < repeats; repeat++) {
    for (const [name, list] of Object.entries(requests)) {
      const measured = cost(list, rounds);
      if (repeat >= 0) (samples[name] ??= []).push(measured);
    }
    const [without, within] = [judged(null, rounds), judged(fiveLimits, rounds)];
    if (repeat >= 0) (samples["five limits"] ??= []).push(within - without);
  }
  const measured = Object.fromEntries(Object.entries(samples).map(([name, list]) => [name, summary(list)]));
  for (const [name, { median }] of Object.entries(measured)) log(`${name}: ${median} µs`);
  const few = samples["rules-10"]!;
  const again = ratio(samples["ten of 10,000"]!, few).median;
  return {
    claims: [
      claim(
        {
          work: `${operations.length.toLocaleString("en-US")} GitHub operations`,
          beside: "",
          figure: "µs a decision",
          measured: measured.github!,
        },
        2,
      ),
      claim(
        {
          work: `the ${covered.length} of them that a rule takes`,
          beside: "",
          figure: "µs a decision",
          measured: measured["github covered"]!,
        },
        2,
      ),
      claim(
        {
          work: "five limits on the path",
          beside: "without limits",
          figure: "µs more",
          measured: measured["five limits"]!,
        },
        5,
      ),
      ...SIZES.slice(1).map((size) => {
        const work = `an upstream of ${size.toLocaleString("en-US")} rules`;
        const compared = ratio(samples[`rules-${size}`]!, few);
        const why = `cache misses of the processor: ten requests of them asked again and again take ${again} times as long`;
        return claim({ work, beside: "one of 10 rules", figure: "time", measured: compared, why, chart: true }, 1.5);
      }),
    ],
    notes: [
      `In one process of Node, ${repeats} interleaved repeats of ${rounds} rounds. Of the GitHub operations ${outcomes.allowed} were allowed, ${outcomes.denied} denied, ${outcomes.uncovered} in no rule, ${outcomes.refused} refused.`,
      `The same number of requests, ${REQUESTS.toLocaleString("en-US")}, is spread evenly over each upstream's rules.`,
    ],
    data: { microseconds: measured, outcomes },
  };
};
