import type { Wrangler } from "./wrangler.ts";

/**
 * Applies the migrations of both databases, and deploys the Worker. wrangler leaves out what is applied already. Migrations come first:
 * they only add, so that the Worker that is deployed now runs on them too.
 */
export function deploy(wrangler: Wrangler): void {
  for (const database of ["DB", "AUDIT_DB"]) wrangler.watch(["d1", "migrations", "apply", database, "--remote"]);
  wrangler.watch(["deploy"]);
}
