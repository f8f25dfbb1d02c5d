import type { Claim } from "./part.ts";
import type { Result } from "./report.ts";

const ROW = 18;
const LEFT = 500;
const WIDTH = 960;
const RIGHT = 70;
/** The ratios that the axis names; what lies beyond its ends is cut off there. */
const TICKS = [0.1, 0.25, 0.5, 1, 2, 4, 8];

/** A bar for every ratio ours / theirs, on a logarithmic axis: left of 1 we are ahead. The thin line spans the repeats. */
export function chart(results: readonly Result[]): string {
  const groups = results
    .map(({ part, claims }) => ({ part, claims: claims.filter((claim) => claim.chart) }))
    .filter(({ claims }) => claims.length > 0);
  const body: string[] = [];
  let y = 50;
  for (const { part, claims } of groups) {
    y += 8;
    body.push(`<text x="10" y="${y + 13}" class="part">${escape(part)}</text>`);
    y += ROW;
    for (const claim of claims) {
      body.push(bar(claim, y));
      y += ROW;
    }
  }
  const height = y + 15;
  const axis = TICKS.map((tick) => {
    const at = x(tick);
    return `<line x1="${at}" x2="${at}" y1="42" y2="${height - 12}" class="${tick === 1 ? "one" : "grid"}"/><text x="${at}" y="36" class="tick">${tick}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
<title>AgentAuth beside its peers: ratio of ours to theirs, lower is better</title>
<style>
text { font: 11px system-ui, sans-serif; fill: #1f2328 }
.part { font-weight: 600; font-size: 13px } .head { font-size: 13px; font-weight: 600 }
.tick { text-anchor: middle; fill: #59636e } .label { text-anchor: end } .value { fill: #59636e }
.grid { stroke: #d1d9e0; stroke-width: 1 } .one { stroke: #1f2328; stroke-width: 1.5 }
.met { fill: #2da44e } .missed { fill: #bf3989 } .plain { fill: #8c959f }
.span { stroke: #1f2328; stroke-width: 1 } .goal { stroke: #0969da; stroke-width: 2 }
</style>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<text x="10" y="18" class="head">ours / theirs, lower is better — green: goal met, purple: missed, grey: no goal; blue mark: the goal; thin line: the repeats</text>
${axis.join("\n")}
${body.join("\n")}
</svg>
`;
}

const LOW = Math.log(TICKS[0]!);
const HIGH = Math.log(TICKS.at(-1)!);

function x(ratio: number): number {
  const share = (Math.log(ratio) - LOW) / (HIGH - LOW);
  return Math.round((LEFT + Math.min(1, Math.max(0, share)) * (WIDTH - LEFT - RIGHT)) * 10) / 10;
}

function bar({ work, beside, figure, measured, goal, met }: Claim, y: number): string {
  const { median, low, high } = measured;
  const [from, to] = [x(1), x(median)].sort((one, other) => one - other) as [number, number];
  const colour = met === null ? "plain" : met ? "met" : "missed";
  const limit = /^≤ ([\d.]+)$/.exec(goal)?.[1];
  const mark = limit
    ? `<line x1="${x(Number(limit))}" x2="${x(Number(limit))}" y1="${y + 1}" y2="${y + ROW - 3}" class="goal"/>`
    : "";
  return `<text x="${LEFT - 6}" y="${y + 12}" class="label">${escape(labelOf({ work, beside, figure }))}</text>
<rect x="${from}" y="${y + 3}" width="${Math.max(1, Math.round((to - from) * 10) / 10)}" height="${ROW - 7}" class="${colour}"/>
<line x1="${x(low)}" x2="${x(high)}" y1="${y + ROW / 2}" y2="${y + ROW / 2}" class="span"/>${mark}
<text x="${WIDTH - RIGHT + 8}" y="${y + 12}" class="value">${median} ×</text>`;
}

/** What a bar is of, as short as it can be said: the table has the rest. */
const labelOf = ({ work, beside, figure }: Pick<Claim, "work" | "beside" | "figure">): string =>
  `${work.replace(", token remembered", "")}: ${figure} / ${beside}`
    .replace(" per request", "")
    .replace(" + http-proxy-middleware", "")
    .replaceAll(" activities", " rows")
    .replace(", both on Node and better-sqlite3", "");

const escape = (text: string) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
