import { consumeAuditBatch, consumeDeadAuditBatch } from "./audit/consume.ts";
import type { ReceivedMessage } from "./audit/message.ts";
import { answer } from "./app.ts";
import { loadConfig } from "./config/config.ts";
import { measureQueue } from "./log/metrics.ts";
import { runScheduledJobs } from "./jobs/run-jobs.ts";
import { consumeDeadDeliveries, consumeDeliveries } from "./webhooks/deliveries/deliver.ts";
import type { WebhookMessage } from "./webhooks/deliveries/enqueue.ts";
import { requestOutboxDrain } from "./webhooks/deliveries/fan-out.ts";

export { UpstreamTokens } from "./gateway/credentials/token-object.ts";

/** The name of a queue begins with that of the Worker, which each environment of wrangler.toml has its own of. */
const QUEUE_PURPOSE = /-((?:activity|deliveries)(?:-dead)?)$/;

export default {
  fetch: answer,
  async queue(batch, env, ctx) {
    const begun = Date.now();
    const oldest = Math.min(...batch.messages.map(({ timestamp }) => timestamp.getTime()));
    switch (QUEUE_PURPOSE.exec(batch.queue)?.[1]) {
      case "activity":
        await consumeAuditBatch(env, batch.messages as readonly Message<ReceivedMessage>[], Date.now());
        // Every change with an event is also recorded, so the outbox of events is likely to have some now.
        await requestOutboxDrain(env);
        break;
      case "activity-dead":
        await consumeDeadAuditBatch(env, batch.messages as readonly Message<ReceivedMessage>[], Date.now());
        break;
      case "deliveries": {
        const messages = batch.messages as readonly Message<WebhookMessage>[];
        await consumeDeliveries(messages, env, loadConfig(env), (work) => ctx.waitUntil(work));
        break;
      }
      case "deliveries-dead":
        await consumeDeadDeliveries(env.DB, batch.messages as readonly Message<WebhookMessage>[], Date.now());
        break;
      default:
        throw new Error(`no consumer for the queue ${batch.queue}`);
    }
    const { length: messages } = batch.messages;
    measureQueue(env, { queue: batch.queue, messages, lagMs: begun - oldest, tookMs: Date.now() - begun });
  },
  async scheduled({ scheduledTime }, env) {
    await runScheduledJobs(env, loadConfig(env), scheduledTime);
  },
} satisfies ExportedHandler<Env>;
