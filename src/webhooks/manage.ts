import type { Authority } from "../authority/authority.ts";
import type { EncryptionKey } from "../crypto/encryption.ts";
import { randomBase62 } from "../crypto/random.ts";
import type { EventName } from "../outbox/event.ts";
import { newEntry, type Action, type AuditEntry, type RecordOrigin } from "../outbox/record.ts";
import { ADMIN } from "../permissions/grammar.ts";
import { newWebhookSecret, sealSecret } from "./secret.ts";
import {
  deleteWebhook,
  insertWebhook,
  readWebhook,
  readWebhooks,
  replaceSecret,
  updateWebhook,
  type WebhookChange,
} from "./store.ts";
import type { Owner, Webhook, WebhookPosition } from "./webhook.ts";

export const MAX_WEBHOOKS_PER_AGENT = 20;

export interface NewWebhook {
  readonly agentId: string;
  readonly url: string;
  readonly events: readonly EventName[];
  readonly description: string | null;
  readonly allAgents: boolean;
}

/** The authority of a caller that writes, what its record says of the request, and the time in milliseconds. */
export interface Write {
  readonly by: Authority;
  readonly origin: RecordOrigin;
  readonly now: number;
}

/** The record of a change. Whose webhook it is, and what it was before, is read from the row. @param what what happened. */
const webhookRecord = ({ origin, now }: Write, action: Action, what: string): AuditEntry =>
  newEntry(action, now, origin, { message: what });

/**
 * Registers a webhook. One for all agents is written only while the caller is an administrator. One D1 round trip.
 *
 * @returns the webhook and its secret, which is returned here and never again; undefined if the agent has
 *   {@link MAX_WEBHOOKS_PER_AGENT} already.
 * @throws {AuthorityLostError} if the caller has lost its authority meanwhile.
 */
export async function registerWebhook(
  db: D1Database,
  { agentId, url, events, description, allAgents }: NewWebhook,
  keys: readonly EncryptionKey[],
  write: Write,
): Promise<{ webhook: Webhook; secret: string } | undefined> {
  const { by, now } = write;
  const webhook: Webhook = {
    id: `whk_${randomBase62(24)}`,
    agentId,
    url,
    events: [...new Set(events)],
    description,
    isActive: true,
    allAgents,
    disabledAt: null,
    disabledReason: null,
    previousSecretExpiresAt: null,
    createdAt: now,
    updatedAt: now,
  };
  const secret = newWebhookSecret();
  const sealedSecret = await sealSecret(secret, webhook.id, keys);
  const needed = allAgents ? { ...by, required: [ADMIN] } : by;
  const record = webhookRecord(write, "webhook.created", `webhook ${webhook.id} registered`);
  const limits = { sealedSecret, maxWebhooks: MAX_WEBHOOKS_PER_AGENT, by: needed, record };
  return (await insertWebhook(db, webhook, limits)) ? { webhook, secret } : undefined;
}

/** Up to `limit` webhooks of an agent, or of everybody, after a position, the oldest first. One D1 round trip. */
export const listWebhooks = (
  db: D1Database,
  owner: Owner,
  query: { after: WebhookPosition | undefined; limit: number },
): Promise<Webhook[]> => readWebhooks(db, owner, query);

/** The webhook with this id if the owner has it. One D1 round trip. */
export const findWebhook = (db: D1Database, id: string, owner: Owner): Promise<Webhook | undefined> =>
  readWebhook(db, id, owner);

/**
 * Changes a webhook. One D1 round trip.
 *
 * @returns the webhook as it is now, or undefined if the owner has no such webhook.
 * @throws {AuthorityLostError} if the caller has lost its authority meanwhile.
 */
export function changeWebhook(
  db: D1Database,
  id: string,
  owner: Owner,
  change: WebhookChange,
  write: Write,
): Promise<Webhook | undefined> {
  const events = change.events && [...new Set(change.events)];
  const record = webhookRecord(write, "webhook.updated", `webhook ${id} changed`);
  return updateWebhook(db, id, owner, { ...change, events }, { ...write, record });
}

/**
 * Deletes a webhook with its deliveries. One D1 round trip.
 *
 * @returns whether the owner had such a webhook.
 * @throws {AuthorityLostError} if the caller has lost its authority meanwhile.
 */
export const removeWebhook = (db: D1Database, id: string, owner: Owner, write: Write): Promise<boolean> =>
  deleteWebhook(db, id, owner, {
    by: write.by,
    record: webhookRecord(write, "webhook.deleted", `webhook ${id} deleted`),
  });

/**
 * Replaces a webhook's secret. The former secret signs too until the overlap ends, and so do older ones whose overlap has not ended.
 * Without an overlap every former secret ends. One D1 round trip.
 *
 * @param overlapMs milliseconds.
 * @returns the webhook and its new secret, which is returned here and never again; undefined if the owner has no such webhook.
 * @throws {AuthorityLostError} if the caller has lost its authority meanwhile.
 */
export async function regenerateSecret(
  db: D1Database,
  id: string,
  owner: Owner,
  { overlapMs, keys }: { overlapMs: number; keys: readonly EncryptionKey[] },
  write: Write,
): Promise<{ webhook: Webhook; secret: string } | undefined> {
  const { by, now } = write;
  const secret = newWebhookSecret();
  const sealedSecret = await sealSecret(secret, id, keys);
  const record = webhookRecord(write, "webhook.secret_regenerated", `secret of webhook ${id} regenerated`);
  const replacement = { sealedSecret, previousExpiresAt: now + overlapMs, now, by, record };
  const webhook = await replaceSecret(db, id, owner, replacement);
  return webhook && { webhook, secret };
}
