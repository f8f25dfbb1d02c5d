import type { AgentAuthority, Authority, BootstrapAuthority, PersonAuthority } from "../authority/authority.ts";
import type { Config } from "../config/config.ts";
import type { Peppers } from "../crypto/pepper.ts";
import { randomBase62 } from "../crypto/random.ts";
import type { Catalogue } from "../permissions/catalogue.ts";
import { unlimited } from "../permissions/grant.ts";
import { ADMIN } from "../permissions/grammar.ts";
import { missingPermissions, isGranted } from "../permissions/match.ts";
import { newGrant, permissionsNow } from "../grants/grant.ts";
import { newEvent } from "../outbox/event.ts";
import { newEntry, type RecordOrigin } from "../outbox/record.ts";
import type { Agent } from "./agent.ts";
import type { Metadata } from "./details.ts";
import { newApiKey, toStoredKey } from "./api-key.ts";
import { validatePermissions } from "./grants.ts";
import { insertAgent } from "./store/agents.ts";

/** Who registers an agent. */
export type Registrar =
  /** A caller without credentials. */
  | { readonly kind: "stranger" }
  /** The holder of `ADMIN_BOOTSTRAP_TOKEN`. */
  | { readonly kind: "bootstrap"; readonly authority: BootstrapAuthority }
  | {
      readonly kind: "agent";
      readonly name: string;
      readonly permissions: ReadonlySet<string>;
      readonly authority: AgentAuthority;
    }
  /** A person who administers the deployment. */
  | { readonly kind: "person"; readonly id: string; readonly name: string; readonly authority: PersonAuthority };

export type RegistrationDecision =
  | { readonly verdict: "accepted"; readonly status: "active" | "inactive" }
  | { readonly verdict: "malformed"; readonly faults: { permission: string; message: string }[] }
  | { readonly verdict: "closed" }
  /** These permissions are more than the registrar may grant. */
  | { readonly verdict: "exceeds_grantor"; readonly permissions: readonly string[] };

/** Decides whether an agent may be registered with these permissions, and with which status. */
export function decideRegistration(
  permissions: readonly string[],
  registrar: Registrar,
  policy: Config["registration"],
  catalogue: Catalogue,
): RegistrationDecision {
  const faults = validatePermissions(permissions, catalogue);
  if (faults.length > 0) return { verdict: "malformed", faults };
  // Nobody has seen in a browser what a new agent of a command may do, and it has no ceiling.
  const isByCommand = registrar.kind === "person" && registrar.authority.byCommand === true;
  if (isByCommand && permissions.includes(ADMIN)) return { verdict: "exceeds_grantor", permissions: [ADMIN] };
  if (isByCommand) return { verdict: "accepted", status: policy === "open" ? "active" : "inactive" };
  if (isAdmin(registrar)) return { verdict: "accepted", status: "active" };
  if (policy === "admin") return { verdict: "closed" };
  const exceeding =
    registrar.kind === "agent"
      ? missingPermissions(permissions, registrar.permissions, catalogue)
      : permissions.filter((permission) => permission === ADMIN);
  if (exceeding.length > 0) return { verdict: "exceeds_grantor", permissions: exceeding };
  return { verdict: "accepted", status: policy === "open" ? "active" : "inactive" };

  function isAdmin(who: Registrar): boolean {
    return (
      who.kind === "bootstrap" ||
      who.kind === "person" ||
      (who.kind === "agent" && isGranted(who.permissions, ADMIN, catalogue))
    );
  }
}

export interface NewAgent {
  readonly name: string;
  readonly ownerEmail: string;
  readonly description: string | null;
  readonly permissions: readonly string[];
  readonly metadata: Metadata;
  /** The networks that the agent may call from, as `parseNetwork` spells them. Null: from everywhere. */
  readonly allowedIps: readonly string[] | null;
  /** How long its first key is valid, in milliseconds. Null: until it is rotated. */
  readonly keyLifeMs: number | null;
}

/**
 * Creates an agent with its first API key, which is returned here and never again. One D1 round trip.
 *
 * @throws {AuthorityLostError} if the registrar has lost the authority to register meanwhile.
 */
export async function createAgent(
  db: D1Database,
  { name, ownerEmail, description, permissions, metadata, allowedIps, keyLifeMs }: NewAgent,
  status: "active" | "inactive",
  registrar: Registrar,
  { peppers, catalogue, now, origin }: { peppers: Peppers; catalogue: Catalogue; now: number; origin: RecordOrigin },
): Promise<{ agent: Agent; apiKey: string }> {
  const grants = [...new Set(permissions)].map((one) => newGrant(unlimited(one), catalogue, now));
  const agent: Agent = {
    id: `agt_${randomBase62(24)}`,
    name,
    ownerEmail,
    permissions: permissionsNow(grants, now),
    grants,
    grantsVersion: 1,
    status,
    tier: "free",
    rateLimit: null,
    allowedIps,
    requiresDpop: false,
    tokenVersion: 1,
    lastVerifiedAt: null,
    createdAt: now,
    updatedAt: now,
  };
  const apiKey = newApiKey();
  const event = newEvent("agent.registered", agent.id, now, {
    agent_id: agent.id,
    name,
    owner_email: ownerEmail,
    created_at: new Date(now).toISOString(),
  });
  const by = authorityOf(registrar, permissions);
  const isApproved =
    registrar.kind === "agent"
      ? registrar.authority.required.includes(ADMIN)
      : registrar.kind === "bootstrap" || (registrar.kind === "person" && registrar.authority.byCommand !== true);
  const key = { ...(await toStoredKey(apiKey, peppers)), lifeMs: keyLifeMs };
  const record = newEntry("agent.registered", now, origin, {
    agentId: agent.id,
    after: {
      name,
      owner_email: ownerEmail,
      description,
      permissions: agent.permissions,
      metadata,
      allowed_ips: allowedIps,
      status,
      tier: agent.tier,
      key_id: key.id,
      key_expires_in: keyLifeMs === null ? null : keyLifeMs / 1000,
    },
    message: "registered",
  });
  const row = { agent, description, metadata, key, event, record, isApproved };
  await insertAgent(db, row, by);
  return { agent, apiKey };
}

/** An agent makes administrators only while no person administers the deployment. */
function authorityOf(registrar: Registrar, permissions: readonly string[]): Authority | undefined {
  if (registrar.kind === "stranger") return undefined;
  const { authority } = registrar;
  return registrar.kind === "agent" && permissions.includes(ADMIN)
    ? { ...registrar.authority, loosens: "always" }
    : authority;
}
