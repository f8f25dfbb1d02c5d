import type { Actor } from "../authority/actor-row.ts";
import type { Event } from "../outbox/event.ts";
import { newEntry, SYSTEM_ORIGIN, type Action, type AuditEntry, type RecordOrigin } from "../outbox/record.ts";
import { toRecordId } from "./activity.ts";

/** A row of activity as the former version recorded it, and as its queue messages still may say it: one line of text. */
export interface FormerActivity {
  readonly id: string;
  readonly agentId: string;
  /** Milliseconds. */
  readonly at: number;
  readonly ipAddress: string;
  readonly status: "success" | "failure";
  readonly message: string | null;
  /** Somebody else did it to the agent. */
  readonly byOther?: boolean;
}

/** A queue message of the former version. */
export interface ActivityMessage extends FormerActivity {
  /**
   * The agent existed when the message was made, because it called or was changed. The record is then written even if the agent is
   * deleted before the message is consumed. A stranger can name any id: for such messages the consumer looks the agent up.
   */
  readonly known?: boolean;
  /** The agent verified itself with its API key. */
  readonly verified?: boolean;
  /** The id of that key. */
  readonly keyId?: string;
  /** A verification failed. Above a limit a minute, such rows become one count. */
  readonly failedVerification?: boolean;
  /** Inserted together with the row. */
  readonly event?: Event;
}

/** The fields of a record that a line of text tells of. */
type Fields = Partial<AuditEntry> & { readonly action: Action };

/** What each line of text was about, by its beginning. A line that none of them fits is of a version that nobody knows. */
const LINES: readonly (readonly [RegExp, Action])[] = [
  [/^registered$/, "agent.registered"],
  [/^(verified$|token issued)/, "token.issued"],
  [/^(\d+ more failed verifications|verification failed|refresh refused)/, "token.refused"],
  [/^token refreshed$/, "token.refreshed"],
  [/^refresh token used again/, "token.reuse_detected"],
  [/^(all tokens|token \S+) revoked/, "token.revoked"],
  [/^session \S+ ended/, "session.ended"],
  [/^status is /, "agent.status_updated"],
  [/^revoked \d+ agents/, "agent.status_updated"],
  [/^tier is /, "agent.tier_updated"],
  [/^permissions are /, "agent.permissions_updated"],
  [/^deleted agent /, "agent.deleted"],
  [/^API key rotated/, "key.rotated"],
  [/^API key \S+ created/, "key.created"],
  [/^API key \S+ deleted/, "key.deleted"],
  [/^public key \S+ registered/, "key.created"],
  [/^webhook \S+ registered$/, "webhook.created"],
  [/^webhook \S+ changed$/, "webhook.updated"],
  [/^webhook \S+ deleted$/, "webhook.deleted"],
  [/^webhook \S+ switched off/, "webhook.disabled"],
  [/^secret of webhook /, "webhook.secret_regenerated"],
  [/^\d+ deliveries started again/, "webhook.redelivered"],
  [/ changed by \S+$/, "agent.updated"],
];

/** Whose line names nobody else and is not the agent's own. */
const OF_STRANGERS = /^(\d+ more failed verifications|verification failed)/;

function readLine(message: string): Fields {
  const call = /^(\S+) ([A-Z]+) (\/\S*) → (.*)$/s.exec(message);
  if (call) {
    const [, service, method, path, result] = call;
    return { action: "gateway.call", service: service!, method: method!, path: path!, ...readResult(result!) };
  }
  const refused = /^([A-Z]+) (\/\S*) → (.*)$/s.exec(message);
  if (refused) {
    const [, method, path, result] = refused;
    return { action: "request.refused", method: method!, path: path!, ...readResult(result!) };
  }
  const [, action = "gateway.call"] = LINES.find(([line]) => line.test(message)) ?? [];
  return { action, message };
}

function readResult(result: string): Partial<AuditEntry> {
  const denied = /^denied, needs (.+)$/.exec(result);
  if (denied) return { outcome: "denied", permission: denied[1]!.replaceAll(" and ", " "), message: null };
  const limited = /^denied, (?:the grant of (.+) has ended|outside the limits of (\S+): .+)$/.exec(result);
  if (limited) {
    const permission = (limited[1] ?? limited[2])!.replaceAll(" and ", " ");
    return { outcome: "denied", permission, message: result };
  }
  const answered = /^(\d{3})(?:, (.+))?$/s.exec(result);
  return answered ? { upstreamStatus: Number(answered[1]), message: answered[2] ?? null } : { message: result };
}

/**
 * Returns the entry of the audit log for an activity that was recorded as a line of text. Its activity reads as it did.
 *
 * @param origin what is known of the request, if more is known than the activity says.
 */
export function toEntry(activity: FormerActivity, origin: Partial<RecordOrigin> = {}): AuditEntry {
  const { agentId, at, message, status } = activity;
  const { action, ...fields } = readLine(message ?? "");
  return newEntry(
    action,
    at,
    { ...SYSTEM_ORIGIN, actor: actorOf(activity), ipAddress: activity.ipAddress || null, ...origin },
    {
      id: toRecordId(activity.id),
      agentId,
      outcome: status === "success" ? "success" : "failed",
      ...fields,
    },
  );
}

function actorOf({ agentId, byOther, message }: FormerActivity): Actor | null {
  if (!byOther) return OF_STRANGERS.test(message ?? "") ? null : { type: "agent", id: agentId, name: null };
  const [, other = null] = / by (agt_\w+)/.exec(message ?? "") ?? [];
  return { type: "agent", id: other === agentId ? null : other, name: null };
}
