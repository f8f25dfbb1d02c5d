import type { Timing } from "./timing.ts";

/** What is counted of a request. Nothing of it is a person's or an agent's. */
export interface Measured {
  /** `call`: through the gateway. `request`: of AgentAuth's own endpoints. */
  readonly kind: "call" | "request";
  /** The service, or the path of the route as it is declared. */
  readonly name: string;
  readonly method: string;
  readonly status: number;
  /** The code of an error of AgentAuth; "" for every other answer. */
  readonly code: string;
}

type MetricsEnv = Partial<Pick<Env, "METRICS">>;

/** The number of a step that a request did not have. */
const NO_STEP = -1;

/**
 * Writes the numbers of one request to Workers Analytics Engine, if the deployment has the binding `METRICS`. Waits for nothing.
 * docs/operations.md names the columns: their order is an interface.
 */
export function measureRequest(
  { METRICS }: MetricsEnv,
  { kind, name, method, status, code }: Measured,
  timing: Timing,
): void {
  METRICS?.writeDataPoint({
    indexes: [name],
    blobs: [kind, name, method, `${Math.floor(status / 100)}xx`, code],
    doubles: [
      timing.elapsed,
      status,
      ...(["status", "credential", "intent", "upstream", "handler"] as const).map((step) => timing.of(step) ?? NO_STEP),
    ],
  });
}

/** Writes the numbers of one batch of a queue. @param lagMs how long its oldest message had waited. */
export function measureQueue(
  { METRICS }: MetricsEnv,
  { queue, messages, lagMs, tookMs }: { queue: string; messages: number; lagMs: number; tookMs: number },
): void {
  METRICS?.writeDataPoint({ indexes: [queue], blobs: ["queue", queue], doubles: [tookMs, messages, lagMs] });
}
