import { batchAsCaller, type Authority } from "../authority/authority.ts";
import type { Config } from "../config/config.ts";
import { randomBase62 } from "../crypto/random.ts";
import type { Catalogue } from "../permissions/catalogue.ts";
import { ADMIN } from "../permissions/grammar.ts";
import { missingPermissions, isGranted } from "../permissions/match.ts";
import { newEvent } from "../outbox/event.ts";
import { insertEvent } from "../webhooks/outbox.ts";
import type { Agent } from "./agent.ts";
import { apiKeyHash, newApiKey } from "./api-key.ts";
import { validatePermissions } from "./grants.ts";
import { insertAgent } from "./store.ts";

/** Who asks for a registration. */
export type Registrar =
  | { readonly kind: "stranger" }
  /** The holder of `ADMIN_BOOTSTRAP_TOKEN`. */
  | { readonly kind: "bootstrap" }
  | { readonly kind: "agent"; readonly permissions: ReadonlySet<string>; readonly authority: Authority };

export type RegistrationDecision =
  | { readonly verdict: "born"; readonly status: "active" | "inactive" }
  | { readonly verdict: "malformed"; readonly faults: { permission: string; message: string }[] }
  | { readonly verdict: "closed" }
  /** More than the registrar may give away. */
  | { readonly verdict: "too_much"; readonly permissions: readonly string[] };

/** What registration policy says to a wish. */
export function decideRegistration(
  permissions: readonly string[],
  registrar: Registrar,
  policy: Config["registration"],
  catalogue: Catalogue,
): RegistrationDecision {
  const faults = validatePermissions(permissions, catalogue);
  if (faults.length > 0) return { verdict: "malformed", faults };
  if (isAdmin(registrar)) return { verdict: "born", status: "active" };
  if (policy === "admin") return { verdict: "closed" };
  const tooMuch =
    registrar.kind === "agent"
      ? missingPermissions(permissions, registrar.permissions, catalogue)
      : permissions.filter((permission) => permission === ADMIN);
  if (tooMuch.length > 0) return { verdict: "too_much", permissions: tooMuch };
  return { verdict: "born", status: policy === "open" ? "active" : "inactive" };

  function isAdmin(who: Registrar): boolean {
    return who.kind === "bootstrap" || (who.kind === "agent" && isGranted(who.permissions, ADMIN, catalogue));
  }
}

export interface NewAgent {
  readonly name: string;
  readonly ownerEmail: string;
  readonly description: string | null;
  readonly permissions: readonly string[];
}

/**
 * Creates an agent with its first API key, which is shown here and never again. One D1 round trip.
 *
 * @throws {ApiError} 401 or 403 if the registrar is an agent that lost meanwhile what the registration was judged by.
 */
export async function createAgent(
  db: D1Database,
  wish: NewAgent,
  status: "active" | "inactive",
  registrar: Registrar,
  { pepper, now }: { pepper: string; now: number },
): Promise<{ agent: Agent; apiKey: string }> {
  const agent: Agent = {
    id: `agt_${randomBase62(24)}`,
    name: wish.name,
    ownerEmail: wish.ownerEmail,
    permissions: [...new Set(wish.permissions)],
    status,
    tier: "free",
    notBefore: 0,
    lastVerifiedAt: null,
    createdAt: now,
    updatedAt: now,
  };
  const apiKey = newApiKey();
  const event = newEvent("agent.registered", agent.id, now, {
    agent_id: agent.id,
    name: agent.name,
    owner_email: agent.ownerEmail,
    created_at: new Date(now).toISOString(),
  });
  const authority = registrar.kind === "agent" ? registrar.authority : undefined;
  const statements = insertAgent(db, agent, wish.description, await apiKeyHash(apiKey, pepper));
  await batchAsCaller(db, authority, [...statements, insertEvent(db, event)]);
  return { agent, apiKey };
}
