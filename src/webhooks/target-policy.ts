import type { Config } from "../config/config.ts";
import type { TargetPolicy } from "./target.ts";

/**
 * Where this deployment's webhooks may be sent.
 *
 * @param at the URL of a request to this service, which shows the port on a laptop; outside a request the issuer does.
 */
export function targetPolicy(config: Config, at?: string): TargetPolicy {
  const ownUrl = at ?? config.issuer;
  return {
    allowLoopback: config.webhookAllowLoopback,
    ports: config.webhookPorts,
    ownPort: ownUrl === null ? null : new URL(ownUrl).port,
    ownHost: config.issuer === null ? null : new URL(config.issuer).hostname,
  };
}
