/**
 * Characters that nobody sees, that look like a space, or that turn the direction of a text: controls, format characters, what a font
 * may leave out (https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point), unassigned and private ones, and all spaces but U+0020.
 */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Cn}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}/gu;

/** A part of a text as it is shown. `hidden`: the name of a character that would not be seen, as `U+202E`. */
export interface TextPart {
  readonly text: string;
  readonly hidden: boolean;
}

/**
 * Divides a text that somebody else wrote into what is shown as it is and what is shown as the name of its character.
 *
 * @param keeps characters that are left as they are, such as the line ends of a body.
 */
export function visibleParts(text: string, keeps = ""): TextPart[] {
  const parts: TextPart[] = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(HIDDEN)) {
    if (keeps.includes(found)) continue;
    if (index > end) parts.push({ text: text.slice(end, index), hidden: false });
    parts.push({ text: `U+${found.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`, hidden: true });
    end = index + found.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end), hidden: false });
  return parts;
}

/** The same as one text, for where a part cannot be marked. */
export const visibleText = (text: string): string =>
  visibleParts(text)
    .map((part) => part.text)
    .join("");

/** The beginning of a text, of whole characters. Returns the text itself if it is short enough. @param most characters. */
export function cut(text: string, most: number): string {
  if (text.length <= most) return text;
  const end = /[\uD800-\uDBFF]/.test(text[most - 1]!) ? most - 1 : most;
  return text.slice(0, end);
}

/** An id as it stands in a table: `agt_7Qm2…x9Lf`. */
export const shortId = (id: string): string => (id.length > 18 ? `${id.slice(0, 8)}…${id.slice(-4)}` : id);

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/**
 * A time in words: relative up to a day, then a date.
 *
 * @param at milliseconds.
 * @param now milliseconds.
 * @param zone the IANA name of a time zone; that of the browser without one.
 */
export function inWords(at: number, now: number, zone?: string): string {
  const away = Math.abs(now - at);
  const words = (text: string) => (at > now ? `in ${text}` : `${text} ago`);
  if (away < 45_000) return at > now + 5000 ? "in less than a minute" : "now";
  if (away < HOUR) return words(`${Math.round(away / MINUTE)} min`);
  if (away < DAY) return words(`${Math.round(away / HOUR)} h`);
  const sameYear = new Date(at).getUTCFullYear() === new Date(now).getUTCFullYear();
  return new Intl.DateTimeFormat("en-GB", {
    day: "numeric",
    month: "short",
    ...(!sameYear && { year: "numeric" }),
    timeZone: zone,
  }).format(at);
}

/** The exact time, local and in UTC. @param at milliseconds. @param zone as for {@link inWords}. */
export function exactTime(at: number, zone?: string): string {
  const format = (timeZone: string | undefined, named: boolean) =>
    new Intl.DateTimeFormat("en-GB", {
      dateStyle: "medium",
      timeStyle: "medium",
      timeZone,
    }).format(at) + (named ? " UTC" : " local");
  return `${format(zone, false)} · ${format("UTC", true)}`;
}

/** How many seconds, in the largest unit that divides them well. */
export function duration(seconds: number): string {
  for (const [size, name] of [
    [86_400, "day"],
    [3600, "hour"],
    [60, "minute"],
  ] as const) {
    if (seconds >= size) {
      const count = Math.round(seconds / size);
      return `${count} ${name}${count === 1 ? "" : "s"}`;
    }
  }
  return `${seconds} second${seconds === 1 ? "" : "s"}`;
}

/** A number with thousands apart. */
export const number = (value: number): string => new Intl.NumberFormat("en-GB").format(value);

/** `1 agent`, `2 agents`. */
export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${number(count)} ${count === 1 ? one : many}`;
