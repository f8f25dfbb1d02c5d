/** The calls of an hour, as the API counts them. */
export interface Hour {
  readonly at: string;
  readonly success: number;
  readonly denied: number;
  readonly failed: number;
  readonly unknown: number;
}

const callsOf = ({ success, denied, failed, unknown }: Hour): number => success + denied + failed + unknown;
const sum = (hours: readonly Hour[], of: (hour: Hour) => number): number =>
  hours.reduce((total, hour) => total + of(hour), 0);

/** A share in percent, as it is read. */
const percent = (share: number): string => `${(share * 100).toFixed(share < 0.1 && share > 0 ? 2 : 0)} %`;

/** The last 24 hours in numbers. @param hours the oldest first: two days. */
export function compareDays(hours: readonly Hour[]) {
  const day = hours.slice(-24);
  const before = sum(hours.slice(-48, -24), callsOf);
  const calls = sum(day, callsOf);
  const denied = sum(day, (hour) => hour.denied);
  const failed = sum(day, (hour) => hour.failed + hour.unknown);
  const growth = before === 0 ? undefined : calls / before - 1;
  return {
    calls,
    denied,
    failed,
    deniedShare: percent(calls === 0 ? 0 : denied / calls),
    /** Undefined if there is nothing to compare with. */
    change:
      growth === undefined
        ? undefined
        : `${growth < 0 ? "−" : "+"}${Math.abs(growth * 100).toFixed(0)} % on the day before`,
  };
}

const [WIDTH, TOP, BOTTOM, BAR] = [720, 10, 140, 12];

/** The line and the bars of a picture of {@link WIDTH} by 150, from zero to the most calls of an hour. */
export function drawCalls(hours: readonly Hour[]) {
  const most = Math.max(1, ...hours.map(callsOf));
  const step = (WIDTH - BAR) / Math.max(1, hours.length - 1);
  const heightOf = (count: number) => ((BOTTOM - TOP) * count) / most;
  const round = (value: number) => Math.round(value * 10) / 10;
  const points = hours.map(
    (hour, index) => `${round(BAR / 2 + index * step)} ${round(BOTTOM - heightOf(callsOf(hour)))}`,
  );
  const bars = hours.flatMap((hour, index) => {
    const height = round(heightOf(hour.denied));
    return height > 0 ? [{ x: round(index * step), y: round(BOTTOM - height), height }] : [];
  });
  return { line: points.length > 0 ? `M${points.join(" L")}` : "", bars, most };
}
