/**
 * One part of a deployment as its operator sees it. `lagging`: it is behind, and nothing is lost. `failing`: it does not do what it is
 * there for. `off`: the deployment is not set up to have it.
 */
export interface PartHealth {
  readonly name: string;
  readonly status: "ok" | "lagging" | "failing" | "off";
  /** Since when it is so, as far as that is known, in milliseconds. */
  readonly since: number | null;
  /** What is the matter, and what to do, as sentences. Null for `ok`. */
  readonly message: string | null;
  /** What was measured, by name. */
  readonly numbers: Readonly<Record<string, number>>;
}

/** What the check of a part finds. */
export type Finding = Omit<PartHealth, "name">;

/** The finding that a part is as it should be. */
export const ok = (numbers: Finding["numbers"] = {}): Finding => ({
  status: "ok",
  since: null,
  message: null,
  numbers,
});

/** How long a check may take, in milliseconds. */
const PATIENCE_MS = 3000;

/**
 * Checks one part. If the check fails, or does not end in time, the part is failing.
 *
 * @param advice what to do then, as sentences.
 */
export async function checkPart(
  name: string,
  check: () => Promise<Finding>,
  advice: string,
  patienceMs = PATIENCE_MS,
): Promise<PartHealth> {
  const failing = (what: string): Finding => ({
    status: "failing",
    since: null,
    message: `${what}${/[.!?]$/.test(what) ? "" : "."} ${advice}`,
    numbers: {},
  });
  const patience = new AbortController();
  const late = scheduler
    .wait(patienceMs, { signal: patience.signal })
    .then(() => failing(`It did not answer within ${patienceMs / 1000} seconds`));
  // Aborted, it rejects after nobody waits for it any more.
  late.catch(() => {});
  const found = check().catch((cause: unknown) => failing(cause instanceof Error ? cause.message : String(cause)));
  const finding = await Promise.race([found, late]);
  patience.abort();
  return { name, ...finding };
}
