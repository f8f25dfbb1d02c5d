/**
 * What each migration adds to the schema and this version needs: tables, and columns of earlier tables as `table.column`. With it an
 * error names the migration that is missing. test/storage/failure.test.ts compares it with the migrations.
 */
const ADDED: Readonly<Record<string, readonly string[]>> = {
  "0001_initial.sql": [
    "agents",
    "agent_counts",
    "refresh_families",
    "refresh_tokens",
    "activity",
    "activity_counts",
    "webhooks",
    "events",
    "deliveries",
  ],
  "0002_floods.sql": [
    "failed_verifications",
    "event_counts",
    "host_attempts",
    "delivery_totals",
    "activity.by_other",
    "webhooks.host",
  ],
  "0003_changes.sql": ["agents.change_id", "refresh_families.change_id", "webhooks.change_id"],
  "0004_sessions.sql": ["api_keys", "sessions", "agents.token_version"],
  "0005_agents.sql": [
    "agent_permissions",
    "agents.metadata",
    "agents.created_by",
    "agents.approved_by",
    "agents.rate_limit",
    "agents.allowed_ips",
    "agents.grantable",
    "sessions.allowed_ips",
  ],
  "0006_idempotency.sql": ["idempotency_keys"],
  "0007_webhooks.sql": [
    "former_webhook_secrets",
    "events_set_aside",
    "webhooks.unreadable_at",
    "events.failures",
    "deliveries.attempt_id",
    "deliveries.reset_at",
  ],
  "0008_grants.sql": ["agents.grants", "agents.grants_version", "agents.grants_due_at"],
  "0009_audit_outbox.sql": ["audit_outbox", "audit_state"],
  "0010_oauth.sql": ["used_proofs", "ended_tokens", "api_keys.kid", "sessions.dpop_jkt"],
  "0011_people.sql": [
    "people",
    "person_sessions",
    "passkeys",
    "person_logins",
    "sign_in_links",
    "used_challenges",
    "person_notices",
    "agents.owner_person_id",
  ],
  "0012_logins.sql": ["person_logins.id", "person_logins.label"],
  "0013_required_dpop.sql": ["agents.dpop_required"],
  "0015_device_grant.sql": ["device_codes", "person_sessions.client_id"],
  "0017_attempts.sql": ["deliveries.attempt_log"],
};

/** The number of the last migration that this version needs, of each database. test/audit/health.test.ts compares them with the files. */
export const WANTED_MIGRATIONS = { DB: parseInt(Object.keys(ADDED).at(-1)!), AUDIT_DB: 4 } as const;

/** The tables, and the columns that were added to a table, that the schema must have. */
export const NEEDED: readonly string[] = Object.values(ADDED).flat();

/** The migration that adds a table or a column, which may be given without its table or with an alias of it. */
export function migrationOf(missing: string): string | undefined {
  const column = missing.split(".").at(-1)!;
  const files = Object.entries(ADDED);
  const [file] =
    files.find(([, added]) => added.includes(missing)) ??
    files.find(([, added]) => added.some((one) => one.endsWith(`.${column}`))) ??
    [];
  return file;
}

/** What to do about a schema that lacks a table or a column, as sentences. */
export function migrationHelp(missing: string): string {
  const file = migrationOf(missing);
  return `The database has no ${missing}${file ? `, which migrations/${file} adds` : ""}. Apply the migrations: npx wrangler d1 migrations apply DB --remote (locally: --local; npm start does it).`;
}
