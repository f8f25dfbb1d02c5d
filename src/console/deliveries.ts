import type { Delivery } from "../client/wire.ts";

export interface Failing {
  readonly webhookId: string;
  readonly deliveries: number;
  readonly last: Delivery;
}

/** The webhooks of deliveries that were given up, those with most of them first. @param deliveries the newest first. */
export function failingWebhooks(deliveries: readonly Delivery[]): Failing[] {
  const found = new Map<string, Failing>();
  for (const last of deliveries) {
    const known = found.get(last.webhook_id);
    found.set(
      last.webhook_id,
      known ? { ...known, deliveries: known.deliveries + 1 } : { webhookId: last.webhook_id, deliveries: 1, last },
    );
  }
  return [...found.values()].toSorted((one, other) => other.deliveries - one.deliveries);
}
