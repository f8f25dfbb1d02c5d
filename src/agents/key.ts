import type { Actor } from "../authority/actor-row.ts";
import type { PublicJwk } from "./public-key.ts";

/** A key of an agent, without what is secret. Times are milliseconds. */
export interface AgentKey {
  readonly id: string;
  readonly type: "secret" | "jwk";
  readonly label: string | null;
  /** The last four characters, of a public key those of its `kid`; empty for a key of a former version until it is used. */
  readonly hint: string;
  /** Null for the first key of an agent that a stranger registered, and for keys of a former version. */
  readonly createdBy: Actor | null;
  readonly createdAt: number;
  /** Null: until it is rotated or deleted. */
  readonly expiresAt: number | null;
  /** When a session was last opened with it, to within a minute. It is written through the queue. */
  readonly lastUsedAt: number | null;
  /** The networks that it may be used from, as `parseNetwork` spells them. Null: from everywhere that its agent may be used from. */
  readonly allowedIps: readonly string[] | null;
  /** Null for a secret. */
  readonly jwk: PublicJwk | null;
}

/** A key that ends at a known time, and whose it is. */
export interface EndingKey {
  readonly key: AgentKey & { readonly expiresAt: number };
  readonly agentId: string;
  readonly agentName: string;
}

/** How many keys of an agent may be valid at the same time. Rotations with an overlap may add to them for its time. */
export const MAX_KEYS_PER_AGENT = 20;
