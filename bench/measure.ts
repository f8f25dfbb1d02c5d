/** The value below which a share of all values lies. */
export function percentile(values: ArrayLike<number>, share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

/** A number that was measured several times: its median, and the lowest and highest of the repeats. */
export interface Measured {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

export const summary = (values: readonly number[]): Measured => ({
  median: significant(median(values)),
  low: significant(Math.min(...values)),
  high: significant(Math.max(...values)),
});

/** The ratio of two series, repeat by repeat: what the machine did to one repeat, it did to both. */
export const ratio = (ours: readonly number[], theirs: readonly number[]): Measured =>
  summary(ours.map((value, index) => value / theirs[index]!));

/** Rounds to three significant digits, the precision of these measurements. */
export const significant = (value: number): number => Number(value.toPrecision(3));

export const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
