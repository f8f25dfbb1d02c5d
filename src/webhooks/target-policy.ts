import type { Config } from "../config/config.ts";
import type { TargetPolicy } from "./target.ts";

/**
 * Where this deployment's webhooks may be sent.
 *
 * @param at the URL of a request to this service, which shows the port on a laptop; undefined outside a request.
 */
export function targetPolicy(config: Config, at?: string): TargetPolicy {
  return {
    allowLoopback: config.webhookAllowLoopback,
    ports: config.webhookPorts,
    ownPort: at === undefined ? null : new URL(at).port,
    ownHost: config.issuer === null ? null : new URL(config.issuer).hostname,
  };
}
