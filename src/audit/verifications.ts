import { lastVerifiedStatements } from "../agents/last-verified.ts";
import type { AuditEntry } from "../outbox/record.ts";

/** The statements that store when agents last verified themselves, and when their keys were last used, as these entries say. */
export const verificationStatements = (db: D1Database, entries: readonly AuditEntry[]): D1PreparedStatement[] =>
  lastVerifiedStatements(
    db,
    entries.flatMap(({ action, agentId, actor, at, keyId }) => {
      // An exchange is recorded of each agent of the chain. The client has proved itself.
      const isProof = action === "token.issued" || (action === "token.exchanged" && actor?.id === agentId);
      return isProof && agentId !== null ? { agentId, at, keyId } : [];
    }),
  );
