const RATE_LIMIT = "a rate limit: copy its [[ratelimits]] section from the wrangler.toml of this version";

/** What each binding of wrangler.toml is, and how to make it. A test compares the names with wrangler.toml. */
const BINDINGS = {
  DB: "a D1 database: `npx wrangler d1 create agentauth`",
  AUDIT_DB: "a second D1 database: `npx wrangler d1 create agentauth-audit`",
  AUDIT_ARCHIVE: "an R2 bucket: `npx wrangler r2 bucket create agentauth-audit`",
  REVOCATIONS: "a KV namespace: `npx wrangler kv namespace create REVOCATIONS`",
  ACTIVITY: "a queue: `npx wrangler queues create agentauth-activity`",
  DELIVERIES: "a queue: `npx wrangler queues create agentauth-deliveries`",
  UPSTREAM_TOKENS:
    "a Durable Object: copy its [[durable_objects.bindings]] and [[migrations]] sections from the wrangler.toml of this version",
  RATE_FREE: RATE_LIMIT,
  RATE_PRO: RATE_LIMIT,
  RATE_ENTERPRISE: RATE_LIMIT,
  RATE_ADDRESS: RATE_LIMIT,
  RATE_VERIFY: RATE_LIMIT,
  RATE_10: RATE_LIMIT,
  RATE_30: RATE_LIMIT,
  RATE_120: RATE_LIMIT,
  RATE_600: RATE_LIMIT,
  RATE_3000: RATE_LIMIT,
} as const satisfies Partial<Record<keyof Env, string>>;

/** The bindings without which the Worker does not run. */
export const NEEDED_BINDINGS: readonly string[] = Object.keys(BINDINGS);

const complete = new WeakSet<object>();

/** Returns a sentence for each binding that an environment lacks: its name, what it is, and how to make it. */
export function missingBindings(env: object): string[] {
  if (complete.has(env)) return [];
  const missing = Object.entries(BINDINGS).filter(([name]) => !(env as Record<string, unknown>)[name]);
  if (missing.length === 0) complete.add(env);
  return missing.map(
    ([name, what]) => `The binding ${name} is missing. It is ${what}. Name it in wrangler.toml, and deploy again.`,
  );
}
