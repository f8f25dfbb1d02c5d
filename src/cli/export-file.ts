import { createHash } from "node:crypto";
import type { AgentStatus, Tier } from "../client/wire.ts";
import { parseCsv } from "./csv.ts";

/** An agent of an export, as it is to be registered. */
export interface ImportedAgent {
  /** Where it stands in the file: `line 3`, or `entry 3`. */
  readonly place: string;
  /** Its id there, or if it has none a hash of what it is: by this it is known again. */
  readonly source: string;
  readonly name: string;
  readonly owner_email: string;
  readonly permissions: readonly string[];
  readonly description: string | undefined;
  readonly tier: Tier;
  readonly status: AgentStatus;
}

/** An entry that cannot be imported, and why. */
interface ImportFault {
  readonly place: string;
  readonly message: string;
}

export interface ImportFile {
  readonly agents: readonly ImportedAgent[];
  readonly faults: readonly ImportFault[];
  /** How many entries were left out because they are of revoked agents. */
  readonly revoked: number;
}

type Entry = Readonly<Record<string, unknown>>;

const FORMATS = ["jsonl", "json", "csv"] as const;
export type Format = (typeof FORMATS)[number];

/** The format that a file's name says. */
export const formatOf = (file: string): Format | undefined =>
  FORMATS.find((format) => file.toLowerCase().endsWith(`.${format}`));

/** @throws {SyntaxError} if the file as a whole is not of the format. */
function readEntries(text: string, format: Format): { place: string; entry: unknown }[] {
  if (format === "csv") {
    const [headings = [], ...rows] = parseCsv(text);
    return rows.map((row, at) => ({
      place: `row ${at + 1}`,
      entry: Object.fromEntries(headings.map((heading, column) => [heading.trim(), row[column] ?? ""])),
    }));
  }
  if (format === "jsonl") {
    return text.split("\n").flatMap((line, at) => {
      if (line.trim() === "") return [];
      const place = `line ${at + 1}`;
      try {
        return [{ place, entry: JSON.parse(line) as unknown }];
      } catch {
        return [{ place, entry: undefined }];
      }
    });
  }
  const whole: unknown = JSON.parse(text);
  const list = Array.isArray(whole) ? whole : (whole as { agents?: unknown } | null)?.agents;
  if (!Array.isArray(list)) throw new SyntaxError("it is neither a list nor an object with a list named agents");
  return list.map((entry: unknown, at) => ({ place: `entry ${at + 1}`, entry }));
}

/** The first of these fields that has something. */
const pick = (entry: Entry, names: readonly string[]): unknown =>
  names.map((name) => entry[name]).find((value) => value !== undefined && value !== null && value !== "");

/**
 * A list of permissions as exports have it: a JSON list, the text of one, an array of PostgreSQL (`{a,b}`), or a text with commas or
 * spaces between. Undefined for anything else.
 */
function toPermissions(value: unknown): string[] | undefined {
  if (value === undefined) return [];
  if (Array.isArray(value)) return value.every((one) => typeof one === "string") ? value : undefined;
  if (typeof value !== "string") return undefined;
  const text = value.trim();
  if (text.startsWith("[")) {
    try {
      const list: unknown = JSON.parse(text);
      return Array.isArray(list) ? toPermissions(list) : undefined;
    } catch {
      return undefined;
    }
  }
  const inside = /^\{(.*)\}$/.exec(text)?.[1] ?? text;
  return inside.split(/[\s,]+/).flatMap((one) => one.replace(/^"(.*)"$/, "$1") || []);
}

const TIERS: readonly string[] = ["free", "pro", "enterprise"] satisfies Tier[];
const STATUSES: readonly string[] = ["active", "inactive", "suspended", "revoked"] satisfies AgentStatus[];

function toAgent(entry: Entry, place: string): ImportedAgent | string {
  const name = pick(entry, ["name", "agent_name"]);
  const owner = pick(entry, ["owner_email", "email", "owner"]);
  const permissions = toPermissions(pick(entry, ["permissions", "scopes"]));
  const description = pick(entry, ["description"]);
  const tier = pick(entry, ["tier", "plan"]) ?? "free";
  const status = pick(entry, ["status"]) ?? "active";
  const id = pick(entry, ["agent_id", "id"]);
  if (typeof name !== "string" || name.trim().length < 3 || name.length > 100)
    return "name must be a text of 3 to 100 characters";
  if (typeof owner !== "string" || !/^[^\s@]+@[^\s@]+$/.test(owner.trim())) return "owner_email must be an address";
  if (!permissions) return "permissions must be a list, or a text with commas between";
  if (permissions.length > 50) return "permissions has more than 50 entries";
  if (description !== undefined && (typeof description !== "string" || description.length > 500)) {
    return "description must be a text of at most 500 characters";
  }
  if (typeof tier !== "string" || !TIERS.includes(tier)) return `tier must be ${TIERS.join(", ")}`;
  if (typeof status !== "string" || !STATUSES.includes(status)) return `status must be ${STATUSES.join(", ")}`;
  if (id !== undefined && typeof id !== "string" && typeof id !== "number")
    return "agent_id must be a text or a number";
  const agent = {
    name: name.trim(),
    owner_email: owner.trim(),
    permissions: [...new Set(permissions)],
    description,
    tier: tier as Tier,
    status: status as AgentStatus,
  };
  const source =
    id === undefined ? `sha256:${createHash("sha256").update(JSON.stringify(agent)).digest("hex")}` : String(id);
  return { place, source, ...agent };
}

/**
 * Reads the agents of an export, without judging whether a deployment takes them. Fields that are not known, hashes of keys above all,
 * are left out: keys cannot be brought along, because nobody but their agents has them.
 *
 * @throws {SyntaxError} if the file as a whole is not of the format.
 */
export function readExport(text: string, format: Format): ImportFile {
  const agents: ImportedAgent[] = [];
  const faults: ImportFault[] = [];
  const places = new Map<string, string>();
  let revoked = 0;
  for (const { place, entry } of readEntries(text, format)) {
    const isEntry = typeof entry === "object" && entry !== null && !Array.isArray(entry);
    const agent = isEntry ? toAgent(entry as Entry, place) : "is not a JSON object";
    if (typeof agent === "string") {
      faults.push({ place, message: agent });
      continue;
    }
    const former = places.get(agent.source);
    if (former !== undefined) faults.push({ place, message: `has the same agent as ${former}` });
    else if (agent.status === "revoked") revoked += 1;
    else agents.push(agent);
    places.set(agent.source, former ?? place);
  }
  return { agents, faults, revoked };
}
