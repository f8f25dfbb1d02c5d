import { startLoad, type Job } from "./load.ts";
import { median, percentile, summary, ratio } from "./measure.ts";
import { claim, type Claim } from "./part.ts";
import { cpuOf, type Running } from "./processes.ts";

/** One that is measured: its server, and what is sent to it in a repeat. */
export interface Contestant {
  readonly name: string;
  readonly server: Running;
  readonly job: (repeat: number) => Job;
}

/** What one repeat gave. Milliseconds; CPU is that of the server's own processes for each request. */
export interface Sample {
  readonly p50: number;
  readonly p99: number;
  readonly cpu: number;
}

/** Runs the contestants in turn in every repeat. The first repeat, -1, is the warm-up and is not counted. */
export async function contest(
  contestants: readonly Contestant[],
  repeats: number,
  log: (line: string) => void,
): Promise<Record<string, Sample[]>> {
  const load = startLoad();
  const samples: Record<string, Sample[]> = {};
  try {
    for (let repeat = -1; repeat < repeats; repeat++) {
      for (const { name, server, job } of contestants) {
        const sent = job(repeat);
        const before = cpuOf(server.pid);
        const { latencies } = await load.run(sent);
        const cpu = (cpuOf(server.pid) - before) / sent.count;
        if (repeat < 0) continue;
        (samples[name] ??= []).push({ p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99), cpu });
      }
    }
  } finally {
    load.stop();
  }
  for (const [name, list] of Object.entries(samples)) {
    const of = (key: keyof Sample) => median(list.map((one) => one[key])).toFixed(2);
    log(`${name}: p50 ${of("p50")} ms, p99 ${of("p99")} ms, CPU ${of("cpu")} ms`);
  }
  return samples;
}

type Samples = Readonly<Record<string, readonly Sample[]>>;

const FIGURES = [
  ["CPU", "cpu"],
  ["p50", "p50"],
  ["p99", "p99"],
] as const;

/** Ours beside another's: CPU, p50 and p99, ahead where the ratio is at most 1. */
export function comparison(
  samples: Samples,
  [our, their]: readonly [string, string],
  {
    work,
    beside = their,
    judged,
    figures = FIGURES.length,
    why,
  }: { work: string; beside?: string; judged: boolean; figures?: number; why?: string },
): Claim[] {
  const [ours, theirs] = [samples[our]!, samples[their]!];
  return FIGURES.slice(0, figures).map(([figure, key]) => {
    const measured = ratio(
      ours.map((one) => one[key]),
      theirs.map((one) => one[key]),
    );
    return claim({ work, beside, figure, measured, chart: judged, ...(why && { why }) }, judged ? 1 : null);
  });
}

export const absolute = (samples: Samples) =>
  Object.fromEntries(
    Object.entries(samples).map(([name, list]) => [
      name,
      {
        p50_ms: summary(list.map(({ p50 }) => p50)),
        p99_ms: summary(list.map(({ p99 }) => p99)),
        cpu_ms: summary(list.map(({ cpu }) => cpu)),
      },
    ]),
  );
