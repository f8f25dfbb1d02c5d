import type { Measured } from "./measure.ts";

/** How much work a run does: `smoke` only shows that the harness works, `quick` is for working on the code. */
export type Effort = "smoke" | "quick" | "normal";

export interface Bench {
  readonly effort: Effort;
  /** Whether to run the slow measurements too, with the largest database. */
  readonly full: boolean;
  /** How many records of the audit log the larger of two databases has; the usual databases where it is not given. */
  readonly records?: number;
  /** A hundred ports from here on are the run's own. */
  readonly port: number;
  /** Cells of the proxy's matrix whose name matches; all of them where it is not given. */
  readonly only?: RegExp;
  readonly log: (line: string) => void;
}

/** One goal, or one comparison without a goal. */
export interface Claim {
  readonly work: string;
  readonly beside: string;
  readonly figure: string;
  /** A ratio ours / theirs, or a plain number with its unit in `figure`. */
  readonly measured: Measured;
  /** `≤ 1.25` if the number has a goal, else empty. */
  readonly goal: string;
  readonly met: boolean | null;
  /** Where a goal is missed: why. */
  readonly why?: string;
  /** Whether the chart shows it: a ratio ours / theirs that says something at a glance. */
  readonly chart?: boolean;
}

/** Rows under a head, as Markdown shows them. */
export interface Table {
  readonly title?: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
}

export interface PartResult {
  readonly claims: readonly Claim[];
  /** What the part shows beside, or instead of, a line for each claim. */
  readonly tables?: readonly Table[];
  /** Whether the claims are also shown in a table of their own. The default is true. */
  readonly listClaims?: boolean;
  /** Sentences under the tables: what was measured and how, what is missing. */
  readonly notes?: readonly string[];
  /** Everything that was measured, for whoever wants to work it out again. */
  readonly data: unknown;
}

/** What a part's run left. */
export interface Result extends PartResult {
  readonly part: string;
  readonly effort: string;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly seconds: number;
}

export type Part = (bench: Bench) => Promise<PartResult>;

/** A number for each effort. */
export const by = (effort: Effort, smoke: number, quick: number, normal: number): number =>
  ({ smoke, quick, normal })[effort];

/** A claim that a measured number is at most, or, for `goal` null, just what was measured. */
export function claim(
  what: Pick<Claim, "work" | "beside" | "figure" | "measured" | "why" | "chart">,
  goal: number | null,
): Claim {
  const met = goal === null ? null : what.measured.median <= goal;
  return { ...what, goal: goal === null ? "" : `≤ ${goal}`, met };
}
