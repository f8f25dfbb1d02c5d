import { lastVerifiedStatements } from "../agents/last-verified.ts";
import type { AuditEntry } from "../outbox/record.ts";

/** The statements that store when agents last verified themselves, and when their keys were last used, as these entries say. */
export const verificationStatements = (db: D1Database, entries: readonly AuditEntry[]): D1PreparedStatement[] =>
  lastVerifiedStatements(
    db,
    entries.flatMap(({ action, agentId, at, keyId }) =>
      action === "token.issued" && agentId !== null ? { agentId, at, keyId } : [],
    ),
  );
