/** The parts of handling a request that wait for something else than its own computing. */
export type Step =
  /** The status of the token: D1, unless an isolate remembers it. */
  | "status"
  /** The upstream's credential, if it has to be requested. */
  | "credential"
  /** The intent of a write, in D1. */
  | "intent"
  /** The upstream, until the head of its answer. */
  | "upstream"
  /** The handler of a route of AgentAuth's own, with everything that it reads and writes. */
  | "handler";

/**
 * Where the time of one request goes, in milliseconds. A Worker's clock stands still while it computes, so this counts what is waited
 * for: https://developers.cloudflare.com/workers/reference/security-model/#step-1-disallow-timers-and-multi-threading
 */
export class Timing {
  readonly #steps = new Map<Step, number>();
  readonly #began = Date.now();

  /** Counts the time until some work is done, or fails, to a step. What runs at the same time is counted for each. */
  async during<T>(step: Step, work: Promise<T>): Promise<T> {
    const start = Date.now();
    try {
      return await work;
    } finally {
      this.#steps.set(step, (this.#steps.get(step) ?? 0) + Date.now() - start);
    }
  }

  /** The time since the request arrived. */
  get elapsed(): number {
    return Date.now() - this.#began;
  }

  /** What a step took; undefined if there was none. */
  of(step: Step): number | undefined {
    return this.#steps.get(step);
  }

  /** What each step took, for a log line. Undefined if there was none. */
  get steps(): Readonly<Record<string, number>> | undefined {
    return this.#steps.size > 0 ? Object.fromEntries(this.#steps) : undefined;
  }

  /** The value of `Server-Timing` (https://www.w3.org/TR/server-timing/#the-server-timing-header-field). */
  toHeader(): string {
    return [...this.#steps, ["total", this.elapsed] as const].map(([name, ms]) => `${name};dur=${ms}`).join(", ");
  }
}
