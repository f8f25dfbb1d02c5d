import type { TokenLink } from "./token-row.ts";

/**
 * The part of a caller's authority that can be revoked. `batchAsCaller` makes it a condition of the
 * transaction, so that a caller writes only while it has all of this authority.
 */
export type Authority = AgentAuthority | PersonAuthority | BootstrapAuthority;

/** An API key in a request's body, which may be none of its agent's. */
export interface ProvenKey {
  /** The key's hash under each key of `SECRET_PEPPER`. */
  readonly hashes: readonly string[];
  /** The address that it is sent from. Empty if it is not known. */
  readonly address: string;
}

/** The authority of an agent, by its access token. */
export interface AgentAuthority extends TokenLink {
  readonly personId?: undefined;
  /** The agents that it acts for, by a token of an exchange. Each of them has to be able to do this as well. */
  readonly delegators?: readonly TokenLink[];
  /** The permissions that the request needs, each as it is stored with the agent. */
  readonly required: readonly string[];
  /** An API key that the request proves itself with. */
  readonly provenBy?: ProvenKey;
  /** The versions of the grants that the request was judged by, of the agent and of those that it acts for. */
  readonly grantsVersions?: readonly { readonly agentId: string; readonly version: number }[];
  /** Set for a change that may loosen what limits an agent: see {@link Loosening}. */
  readonly loosens?: Loosening;
}

/**
 * A change that may loosen what limits an agent. An agent may make it only while no person administers the deployment, or if it
 * loosens nothing: that is compared with what the limited agent has when it is written.
 *
 * - `always`: it loosens, whatever the limited agent has.
 * - `permissions`: it does unless the agent has each of these already.
 * - `allowedIps`: it does unless each of these stands in the agent's list already, or the agent has no list. Null is no list.
 * - `grantable`: it does unless each of these stands in the agent's list already.
 */
export type Loosening =
  | "always"
  | {
      readonly agentId: string;
      readonly permissions?: readonly string[];
      readonly allowedIps?: readonly string[] | null;
      readonly grantable?: readonly string[];
    };

/** What a person may do: everything; what an agent of theirs may do; read everything. */
export const ROLES = ["admin", "owner", "auditor"] as const;
export type Role = (typeof ROLES)[number];

/** What has to stand for a command to grant something to an agent. */
export interface Ceiling {
  readonly agentId: string;
  /** What the agent has and keeps, as it is stored. */
  readonly held: readonly string[];
  /** What an administrator lets others grant the agent (`grantable`), as it is stored. */
  readonly grantable: readonly string[];
}

/** The authority of a person, by the session that they are signed in with. */
export interface PersonAuthority {
  readonly personId: string;
  readonly agentId?: undefined;
  readonly sessionId: string;
  /** The role by which the request was accepted. */
  readonly role: Role;
  /** The agent that must be the person's, for what an owner may do. */
  readonly ownedAgent?: string;
  /** The session is of a command that the person has let in (RFC 8628), which only grants below an agent's ceiling. */
  readonly byCommand?: boolean;
  /** What a command grants, which is compared with what the agent has when it is written. */
  readonly ceiling?: Ceiling;
  /** The agent that a command or an owner makes a key for, which must not be an administrator: its key would do what they may not. */
  readonly keyFor?: string;
  /** The session may also be one that a sign-in link opened, which may do nothing but enrol a passkey. */
  readonly byLink?: boolean;
}

/** The authority of the holder of the bootstrap token, to register agents. */
export interface BootstrapAuthority {
  readonly agentId?: undefined;
  readonly personId?: undefined;
  /** Whether the token still registers agents once there are people (`BOOTSTRAP`). */
  readonly lasts: boolean;
}

/** The id of the agent or of the person that has this authority. */
export const actorId = (authority: Authority): string => authority.personId ?? authority.agentId ?? "bootstrap";

/** Why a caller has lost its authority. */
export type AuthorityLoss =
  /** The token or its session was revoked, or the agent is not active. */
  | { readonly reason: "token_revoked" }
  /** The person's session has ended, or the person is suspended or deleted. */
  | { readonly reason: "session_ended" }
  /** The person has another role now, or the agent another owner. */
  | { readonly reason: "role_changed" }
  /** A command that a person has let in would grant more than an administrator lets others grant the agent. */
  | { readonly reason: "browser_required" }
  /** An owner, or a command that a person has let in, would make a key of an administrator. */
  | { readonly reason: "administrator_required" | "key_of_administrator" }
  /** There are people, and the bootstrap token does not register agents any more. */
  | { readonly reason: "bootstrap_ended" }
  /** The API key in the request is not one of the agent's. */
  | { readonly reason: "key_refused" }
  /** The agent's grants have changed since the request was judged. */
  | { readonly reason: "grants_changed" }
  /** The change loosens what limits an agent, and a person administers the deployment. */
  | { readonly reason: "person_required" }
  /** `granted`: the agent's permissions now. */
  | { readonly reason: "insufficient_permissions"; readonly required: string | undefined; readonly granted: string[] };

/** The caller lost its authority while its request was handled. Nothing was written. */
export class AuthorityLostError extends Error {
  readonly loss: AuthorityLoss;

  constructor(loss: AuthorityLoss, options?: ErrorOptions) {
    super(`the caller lost its authority: ${loss.reason}`, options);
    this.name = "AuthorityLostError";
    this.loss = loss;
  }
}
