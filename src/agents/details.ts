import type { Actor } from "../authority/actor-row.ts";
import type { Agent, AgentRateLimit } from "./agent.ts";

/** Texts by name that an owner attaches to an agent. */
export type Metadata = Readonly<Record<string, string>>;

/** What is known about an agent beside what every check of a token reads. */
interface AgentDetails {
  readonly description: string | null;
  readonly metadata: Metadata;
  /** Null for an agent that a stranger registered, or a former version. */
  readonly createdBy: Actor | null;
  /** Who first made it active. Null if nobody has, or if it was active from the beginning without anybody's approval. */
  readonly approvedBy: Actor | null;
  /** The permissions that its owner may grant it. */
  readonly grantable: readonly string[];
  /** The person who owns it. Null: nobody. */
  readonly ownerPersonId: string | null;
  /** Keys that have not expired. */
  readonly keyCount: number;
  /** Sessions that can still refresh. */
  readonly sessionCount: number;
}

export interface DetailedAgent {
  readonly agent: Agent;
  readonly details: AgentDetails;
}

/** New values of an agent. What is undefined stays as it is, null takes the value away. */
export interface Profile {
  readonly name?: string | undefined;
  readonly description?: string | null | undefined;
  readonly metadata?: Metadata | undefined;
  readonly ownerEmail?: string | undefined;
  readonly rateLimit?: AgentRateLimit | null | undefined;
  /** As `parseNetwork` spells them. */
  readonly allowedIps?: readonly string[] | null | undefined;
  readonly requiresDpop?: boolean | undefined;
  readonly grantable?: readonly string[] | undefined;
  /** The id of a person. */
  readonly ownerPersonId?: string | null | undefined;
}
