import { startWorker } from "../outside/support/worker.ts";
import { testSecrets } from "../support/secrets.ts";
import type { Target } from "./lab.ts";
import type { HostileUpstream } from "./upstream.ts";
import { settingsFor } from "./vault.ts";

export type OwnGateway = Omit<Target, "upstream" | "readers"> & { stop(): Promise<void> };

/** Starts the Worker in workerd before the hostile upstream, as local development does. */
export async function startGateway(
  upstream: HostileUpstream,
  { limits }: { limits: "real" | "none" },
): Promise<OwnGateway> {
  const settings = {
    ...settingsFor(upstream.url),
    // What revokes shows at once, and a refresh token that is used twice ends its session: nothing needs to wait.
    STANDING_TTL_SECONDS: "0",
    REFRESH_GRACE_SECONDS: "0",
  };
  const worker = await startWorker(settings, { limits });
  return {
    origin: worker.url,
    bootstrapToken: testSecrets.ADMIN_BOOTSTRAP_TOKEN,
    own: { pid: worker.pid, runJobs: () => worker.runJobs() },
    isLimited: limits === "real",
    standingTtlMs: 0,
    refreshGraceMs: 0,
    stop: () => worker.stop(),
  };
}
