import type { Config } from "../config/config.ts";
import type { TargetPolicy } from "./target.ts";

/** Where this deployment's webhooks may go. `at`: where a request reached it, which is all that tells a laptop's port. */
export function targetPolicy(config: Config, at?: string): TargetPolicy {
  return {
    allowLoopback: config.webhookAllowLoopback,
    ports: config.webhookPorts,
    ownPort: at === undefined ? null : new URL(at).port,
    ownHost: config.issuer === null ? null : new URL(config.issuer).hostname,
  };
}
