import type { Config } from "../config.ts";
import type { TargetPolicy } from "./target.ts";

/** Where this deployment's webhooks may go. */
export function targetPolicy(config: Config): TargetPolicy {
  return {
    allowLoopback: config.webhookAllowLoopback,
    ports: config.webhookPorts,
    ownHost: config.issuer === null ? null : new URL(config.issuer).hostname,
  };
}
