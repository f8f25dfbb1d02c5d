import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chart } from "./chart.ts";
import type { Measured } from "./measure.ts";
import type { Claim, Result, Table } from "./part.ts";

/** Makes the table and the chart from the results in a directory, in the order of the parts. Returns the files' names. */
export function report(directory: string, parts: readonly string[]): string[] {
  const results = read(directory, parts);
  if (results.length === 0) return [];
  const files = { "table.md": table(results), "chart.svg": chart(results, shortLine(results)) };
  return Object.entries(files).map(([name, text]) => {
    const file = join(directory, name);
    writeFileSync(file, text);
    return file;
  });
}

function read(directory: string, parts: readonly string[]): Result[] {
  return parts
    .map((part) => join(directory, `${part}.json`))
    .filter((file) => existsSync(file))
    .map((file) => JSON.parse(readFileSync(file, "utf8")) as Result);
}

function table(results: readonly Result[]): string {
  const lines = ["<!-- Made by `npm run bench`. -->", "", machineLine(results), ""];
  for (const { part, claims, tables, notes, listClaims, machine, seconds, effort } of results) {
    const when = `${machine.date}, commit ${machine.commit}, ${effort} run of ${seconds} s, load average ${machine.load_average}`;
    lines.push(`### ${part}`, "", `${when}.`, "");
    for (const one of tables ?? []) lines.push(...markdown(one), "");
    if (listClaims !== false && claims.length > 0) lines.push(...markdown(claimsTable(claims)), "");
    for (const note of notes ?? []) lines.push(`- ${note}`);
    if (listClaims === false) lines.push(...missedOf(claims));
    lines.push("");
  }
  return lines.join("\n").replace(/\n{3,}/g, "\n\n");
}

/** The place of the table of goals in a page. */
const GOALS = /(?<=<!-- goals: made by `npm run bench` -->\n)[^]*(?=\n<!-- end of goals -->)/;

/** Returns the page with its table of goals rewritten from the results in a directory, and the reasons for missed goals below. */
export function withGoals(page: string, directory: string, parts: readonly string[]): string {
  const groups = read(directory, parts).flatMap(({ part, claims }) => {
    const withGoal = claims.filter(({ goal }) => goal !== "");
    return [...Map.groupBy(withGoal, ({ beside, goal }) => `${beside}\n${goal}`).values()].map((group) => ({
      part,
      group,
    }));
  });
  const head = ["part", "compared with, or number", "goal", "met", "medians", "medians that miss it"];
  const table = markdown({ head, rows: groups.map(({ part, group }) => goalRow(part, group)) });
  const reasons = groups.flatMap(({ part, group }) => {
    const why = reasonsOf(group);
    return why === "" ? [] : [`- **${part}, ${titleOf(group[0]!)}:** ${why}`];
  });
  return page.replace(GOALS, () => [...table, "", ...reasons].join("\n"));
}

const titleOf = ({ beside, figure }: Claim): string => beside || figure;

/** One goal that several claims are measured against. */
function goalRow(part: string, group: readonly Claim[]): string[] {
  const medians = (some: readonly Claim[]) =>
    some.length > 0 ? range(some.map(({ measured }) => measured.median)) : "";
  const missed = group.filter(({ met }) => met === false);
  const met = `${group.length - missed.length} of ${group.length}`;
  return [part, titleOf(group[0]!), group[0]!.goal, met, medians(group), medians(missed)];
}

/** Why a goal is missed: each reason as a sentence. Empty if it is met. */
function reasonsOf(group: readonly Claim[]): string {
  const missed = group.filter(({ met }) => met === false);
  const why = new Set(missed.flatMap((one) => one.why ?? []));
  const sentences = [...why].map((one) => `${one[0]!.toUpperCase()}${one.slice(1)}`.replace(/[^.]$/, "$&."));
  const sometimes = metSometimes(missed);
  if (sometimes > 0) sentences.push(`In some repeats ${sometimes} of these ${missed.length} met it.`);
  return sentences.join(" ");
}

const range = (numbers: readonly number[]): string => {
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  return least === most ? text(most) : `${text(least)} to ${text(most)}`;
};

/** What misses its goal, by how much, and why: one line for all beside one other that have the same reason. */
function missedOf(claims: readonly Claim[]): string[] {
  const groups = new Map<string, Claim[]>();
  for (const one of claims.filter(({ met }) => met === false)) {
    const key = `${one.beside}\n${one.goal}\n${one.why}`;
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return [...groups.values()].map((missed) => {
    const { beside, goal, why } = missed[0]!;
    const judged = claims.filter((one) => one.beside === beside && one.goal === goal).length;
    const sometimes = metSometimes(missed);
    return (
      `- **Missed:** ${missed.length} of ${judged} figures beside ${beside}, with ${range(missed.map(({ measured }) => measured.median))} (goal ${goal}` +
      `${sometimes > 0 ? `; ${sometimes} of them met in some repeats` : ""})${why ? `. ${why}` : ""}.`
    );
  });
}

/** How many of those missed were met in some repeats. */
const metSometimes = (missed: readonly Claim[]): number =>
  missed.filter(({ measured, goal }) => spread(measured, goal) !== "").length;

/** A goal that some repeats met is missed no less, but says something else. */
const spread = ({ low }: Measured, goal: string): string =>
  low <= Number(goal.replace("≤ ", "")) ? ", met in some repeats" : "";

const claimsTable = (claims: readonly Claim[]): Table => ({
  head: ["work", "beside", "figure", "measured (lowest to highest repeat)", "goal", "met"],
  rows: claims.map(({ work, beside, figure, measured: { median, low, high }, goal, met, why }) => [
    work,
    beside,
    figure,
    low === high ? text(median) : `${text(median)} (${text(low)} to ${text(high)})`,
    goal,
    met === null ? "" : met ? "yes" : `**no**${spread({ median, low, high }, goal)}${why ? `: ${why}` : ""}`,
  ]),
});

function markdown({ title, head, rows }: Table): string[] {
  const line = (cells: readonly (string | number)[]) =>
    `| ${cells.map((cell) => (typeof cell === "number" ? text(cell) : cell.replaceAll("|", "\\|"))).join(" | ")} |`;
  return [...(title ? [`**${title}**`, ""] : []), line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line)];
}

function machineLine(results: readonly Result[]): string {
  const { machine } = results.at(-1)!;
  const { date, commit: _commit, load_average: _load, processor, memory_gb, kernel, ...versions } = machine;
  const listed = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `${date}, ${processor}, ${memory_gb} GB, Linux ${kernel}; ${listed.join(", ")}.`;
}

/** The machine, the runtimes and the day, as a chart has room for. */
function shortLine(results: readonly Result[]): string {
  const { date, commit, processor, memory_gb, node, workerd } = results.at(-1)!.machine;
  return `${processor}, ${memory_gb} GB; Node ${node}, workerd ${workerd}; ${date}, commit ${commit}. Medians of interleaved repeats.`;
}

const text = (value: number) => (Math.abs(value) >= 1000 ? value.toLocaleString("en-US") : String(value));
