import * as z from "zod/mini";
import { route } from "../access/route.ts";
import { agentsByStatus } from "../agents/read.ts";
import { DURATION_BUCKETS_MS, readCounts, type Count } from "../audit/metrics.ts";
import type { PartHealth } from "../storage/part-health.ts";
import { checkParts } from "./health-details.ts";

/** https://prometheus.io/docs/specs/om/open_metrics_spec/#overall-structure */
const CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [suffix: string, labels: Labels, value: number];

const escaped = (value: string): string =>
  value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

/** One family of OpenMetrics: its metadata, and its samples. */
function family(
  name: string,
  type: "counter" | "gauge" | "histogram",
  help: string,
  samples: readonly Sample[],
): string {
  const lines = samples.map(([suffix, labels, value]) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
    return `${name}${suffix}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}`;
  });
  return [`# TYPE ${name} ${type}`, `# HELP ${name} ${help}`, ...lines, ""].join("\n");
}

function recordSamples(counts: readonly Count[]): Sample[] {
  return counts
    .filter(({ counter }) => counter === "records")
    .map(({ labels: [action = "", service = "", outcome = ""], value }) => [
      "_total",
      { action, ...(service !== "" && { service }), outcome },
      value,
    ]);
}

/** A histogram in seconds: each bucket has everything up to its bound. */
function durationSamples(counts: readonly Count[]): Sample[] {
  const valueOf = (counter: Count["counter"], label?: string) =>
    counts.find((count) => count.counter === counter && count.labels[0] === label)?.value ?? 0;
  let total = 0;
  const buckets = [...DURATION_BUCKETS_MS.map(String), "+Inf"].map((bound): Sample => {
    total += valueOf("duration_bucket", bound);
    return ["_bucket", { le: bound === "+Inf" ? bound : String(Number(bound) / 1000) }, total];
  });
  return [...buckets, ["_sum", {}, valueOf("duration_sum") / 1000], ["_count", {}, valueOf("duration_count")]];
}

/** Everything about one deployment as OpenMetrics text. @param now milliseconds. */
function toOpenMetrics(
  counts: readonly Count[],
  agents: readonly { readonly status: string; readonly total: number }[],
  parts: readonly PartHealth[],
  now: number,
): string {
  const ofParts = (toSamples: (part: PartHealth) => Sample[]) => parts.flatMap(toSamples);
  return [
    family(
      "agentauth_records",
      "counter",
      "Records of the audit log, by action, service and outcome.",
      recordSamples(counts),
    ),
    family(
      "agentauth_call_duration_seconds",
      "histogram",
      "How long calls through the gateway took, until the end of the answer's body.",
      durationSamples(counts),
    ),
    family(
      "agentauth_agents",
      "gauge",
      "Agents, by status.",
      agents.map(({ status, total }) => ["", { status }, total]),
    ),
    family(
      "agentauth_part_up",
      "gauge",
      "Whether a part of the deployment does what it is there for, even if it is behind.",
      ofParts(({ name, status }) => (status === "off" ? [] : [["", { part: name }, status === "failing" ? 0 : 1]])),
    ),
    family(
      "agentauth_part_lag_seconds",
      "gauge",
      "For how long a part has been behind.",
      ofParts(({ name, status, since }) =>
        status === "off" ? [] : [["", { part: name }, since === null ? 0 : Math.max(0, now - since) / 1000]],
      ),
    ),
    family(
      "agentauth_part",
      "gauge",
      "What was measured of a part, by the name that GET /health/details has for it.",
      ofParts(({ name, numbers }) =>
        Object.entries(numbers).map(([number, value]): Sample => ["", { part: name, number }, value]),
      ),
    ),
    "# EOF\n",
  ].join("");
}

export const metricsRoutes = [
  route({
    method: "GET",
    path: "/metrics",
    auth: "admin",
    summary: "Counters and gauges of the deployment, as OpenMetrics text",
    mediaTypes: ["application/openmetrics-text"],
    response: () => z.string(),
    async handle({ env, config, now }) {
      const [counts, agents, parts] = await Promise.all([
        // Without the log's database there is still to be seen that it is missing.
        readCounts(env.AUDIT_DB).catch(() => []),
        agentsByStatus(env.DB),
        checkParts(env, config, now),
      ]);
      return new Response(toOpenMetrics(counts, agents, parts, now), {
        headers: { "Content-Type": CONTENT_TYPE, "Cache-Control": "no-store" },
      });
    },
  }),
];
