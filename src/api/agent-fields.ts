import * as z from "zod/mini";
import { RATE_LIMITS } from "../agents/agent.ts";
import { parseNetwork } from "../validation/ip-address.ts";
import { invisibleCharacter, readableLine } from "../validation/readable-text.ts";
import { once } from "../validation/once.ts";

/** Bytes of an agent's metadata as JSON in UTF-8. */
const MAX_METADATA_BYTES = 4096;
const MAX_NETWORKS = 50;

/** An e-mail address of an owner. */
export const ownerEmail = once(() => z.string().check(z.trim(), z.maxLength(255), z.email()));

/** The name of an agent. */
export const agentName = once(() => readableLine(3, 100));

/**
 * An object of texts. The names and texts come back exactly as they were sent, so what could not is refused: a name `__proto__`,
 * which JavaScript would lose, and characters that nobody sees.
 */
export const metadata = once(() =>
  z
    .pipe(
      z.transform((value: unknown, { issues }) => {
        const fault = metadataFault(value);
        if (fault) issues.push({ code: "custom", input: value, message: fault });
        return value as Record<string, string>;
      }),
      z.record(z.string(), z.string()),
    )
    .check(z.describe("Texts by name, of at most 4 KB together. Replaces what the agent has.")),
);

function metadataFault(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "must be an object of texts";
  const entries = Object.entries(value as Record<string, unknown>);
  if (!entries.every(([, text]) => typeof text === "string")) return "must be an object of texts";
  if (Object.hasOwn(value, "__proto__")) return "must not have the name __proto__";
  const found = entries
    .flat()
    .map((text) => invisibleCharacter(String(text).replace(/[\r\n\t]/g, " ")))
    .find((character) => character !== undefined);
  if (found) return `must not hold characters that cannot be seen or that turn the direction of a text (${found})`;
  const bytes = new TextEncoder().encode(JSON.stringify(value)).byteLength;
  return bytes > MAX_METADATA_BYTES ? `must have ${MAX_METADATA_BYTES} bytes or fewer as JSON` : undefined;
}

const network = once(() =>
  z.pipe(
    z.string().check(z.maxLength(64)),
    z.transform((text, { issues }) => {
      const parsed = parseNetwork(text);
      if ("network" in parsed) return parsed.network;
      issues.push({ code: "custom", input: text, message: parsed.fault });
      return z.NEVER;
    }),
  ),
);

/** Networks that requests may come from. Null for any address; nobody could use an empty list. */
export const allowedIps = once(() =>
  z
    .nullable(
      z.pipe(
        z.array(network()).check(z.minLength(1), z.maxLength(MAX_NETWORKS)),
        z.transform((networks) => [...new Set(networks)]),
      ),
    )
    .check(
      z.describe("Networks in CIDR notation, or addresses: requests from others are refused. Null for any address."),
    ),
);

export const rateLimit = once(() =>
  z.nullable(z.literal(RATE_LIMITS)).check(z.describe("Requests a minute instead of the tier's. Null for the tier's.")),
);

const MIN_KEY_SECONDS = 60;
/** Five years. */
const MAX_KEY_SECONDS = 5 * 365 * 86_400;

export const keyExpiresIn = once(() =>
  z
    .nullable(z.int().check(z.minimum(MIN_KEY_SECONDS), z.maximum(MAX_KEY_SECONDS)))
    .check(z.describe("How many seconds the API key is valid. Null for no end.")),
);

/** A lifetime in milliseconds from seconds; null for none. */
export const toLifeMs = (seconds: number | null | undefined): number | null =>
  seconds == null ? null : seconds * 1000;
