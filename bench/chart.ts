import type { Claim, Result } from "./part.ts";

const ROW = 17;
const LEFT = 400;
const WIDTH = 960;
const RIGHT = 70;
const TOP = 108;
/** The ratios that the axis names; what lies beyond its ends is cut off there. */
const TICKS = [0.1, 0.25, 0.5, 1, 2, 4, 8];

/**
 * A bar for every ratio ours / theirs, on a logarithmic axis: left of 1 we are ahead. The thin line spans the repeats.
 *
 * @param about on what machine, with what and when: stands under the title.
 */
export function chart(results: readonly Result[], about: string): string {
  const groups = results
    .map(({ part, claims }) => ({ part, claims: claims.filter((claim) => claim.chart) }))
    .filter(({ claims }) => claims.length > 0);
  const body: string[] = [];
  let y = TOP;
  for (const { part, claims } of groups) {
    // What all of a part's bars have in common stands once, beside its name.
    const common = new Set(claims.map(comparisonOf)).size === 1 ? comparisonOf(claims[0]!) : "";
    y += 12;
    body.push(
      `<text x="16" y="${y + 12}"><tspan class="part">${escape(part)}</tspan><tspan dx="8" class="quiet">${escape(common)}</tspan></text>`,
    );
    y += ROW + 2;
    let last = "";
    for (const claim of claims) {
      const work = workOf(claim);
      const label = common ? work : comparisonOf(claim);
      if (!common && work !== last) {
        if (last) y += 5;
        body.push(`<text x="16" y="${y + 12}">${escape(work)}</text>`);
      }
      last = work;
      body.push(bar(claim, label, y));
      y += ROW;
    }
  }
  const height = y + 16;
  const axis = TICKS.map((tick) => {
    const at = x(tick);
    return `<line x1="${at}" x2="${at}" y1="${TOP - 4}" y2="${height - 12}" class="${tick === 1 ? "one" : "grid"}"/><text x="${at}" y="${TOP - 10}" class="tick">${tick} ×</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
<title>AgentAuth beside its peers: ratio of ours to theirs, lower is better</title>
<style>
text { font: 11.5px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
.head { font-size: 17px; font-weight: 600 } .part { font-weight: 600; font-size: 13.5px } .quiet, .tick, .value { fill: #59636e }
.tick { text-anchor: middle } .label, .value { text-anchor: end }
.grid { stroke: #e2e6ea; stroke-width: 1 } .one { stroke: #1f2328; stroke-width: 1.2 }
.met { fill: #2da44e } .missed { fill: #cf5a9b } .plain { fill: #8c959f }
.span { stroke: #1f2328; stroke-opacity: .55; stroke-width: 1 } .goal { stroke: #0969da; stroke-width: 2 }
</style>
<rect width="${WIDTH}" height="${height}" rx="6" fill="#fff"/>
<text x="16" y="28" class="head">AgentAuth beside its peers: ours / theirs, lower is better</text>
<text x="16" y="46" class="quiet">${escape(about)}</text>
${legend(64)}
<text x="${x(1) - 10}" y="${TOP - 27}" class="quiet" text-anchor="end">← ahead</text><text x="${x(1) + 10}" y="${TOP - 27}" class="quiet">behind →</text>
${axis.join("\n")}
${body.join("\n")}
</svg>
`;
}

function legend(y: number): string {
  const swatch = (at: number, shape: string, text: string) =>
    `${shape}<text x="${at + 20}" y="${y + 6}" class="quiet">${text}</text>`;
  const box = (at: number, kind: string) => `<rect x="${at}" y="${y - 3}" width="14" height="9" class="${kind}"/>`;
  return [
    swatch(16, box(16, "met"), "goal met"),
    swatch(100, box(100, "missed"), "missed"),
    swatch(176, `<line x1="183" x2="183" y1="${y - 4}" y2="${y + 8}" class="goal"/>`, "the goal"),
    swatch(262, `<line x1="260" x2="278" y1="${y + 2}" y2="${y + 2}" class="span"/>`, "lowest to highest repeat"),
  ].join("");
}

const LOW = Math.log(TICKS[0]!);
const HIGH = Math.log(TICKS.at(-1)!);

function x(ratio: number): number {
  const share = (Math.log(ratio) - LOW) / (HIGH - LOW);
  return Math.round((LEFT + Math.min(1, Math.max(0, share)) * (WIDTH - LEFT - RIGHT)) * 10) / 10;
}

function bar({ measured, goal, met }: Claim, label: string, y: number): string {
  const { median, low, high } = measured;
  const [from, to] = [x(1), x(median)].sort((one, other) => one - other) as [number, number];
  const colour = met === null ? "plain" : met ? "met" : "missed";
  const limit = /^≤ ([\d.]+)$/.exec(goal)?.[1];
  const mark = limit
    ? `<line x1="${x(Number(limit))}" x2="${x(Number(limit))}" y1="${y + 1}" y2="${y + ROW - 2}" class="goal"/>`
    : "";
  return `<text x="${LEFT - 10}" y="${y + 12}" class="label">${escape(label)}</text>
<rect x="${from}" y="${y + 3}" width="${Math.max(1, Math.round((to - from) * 10) / 10)}" height="${ROW - 6}" class="${colour}"/>
<line x1="${x(low)}" x2="${x(high)}" y1="${y + ROW / 2}" y2="${y + ROW / 2}" class="span"/>${mark}
<text x="${WIDTH - 16}" y="${y + 12}" class="value">${median} ×</text>`;
}

/** What a bar is of, as short as it can be said: the table has the rest. */
const workOf = ({ work }: Claim): string =>
  work.replace(", token remembered", "").replace(", both on Node and better-sqlite3", "");

const comparisonOf = ({ figure, beside }: Claim): string =>
  `${figure} / ${beside}`
    .replace(" per request", "")
    .replace(" + http-proxy-middleware", "")
    .replaceAll(" activities", " rows");

const escape = (text: string) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
