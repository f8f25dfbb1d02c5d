import { consumeAuditBatch } from "./audit/consume.ts";
import type { ReceivedMessage } from "./audit/message.ts";
import { answer } from "./app.ts";
import { loadConfig } from "./config/config.ts";
import { runScheduledJobs } from "./jobs/run-jobs.ts";
import { consumeDeadDeliveries, consumeDeliveries } from "./webhooks/deliveries/deliver.ts";
import type { WebhookMessage } from "./webhooks/deliveries/enqueue.ts";
import { requestOutboxDrain } from "./webhooks/deliveries/fan-out.ts";

export { UpstreamTokens } from "./gateway/credentials/token-object.ts";

export default {
  fetch: answer,
  async queue(batch, env, ctx) {
    switch (batch.queue) {
      case "agentauth-activity":
        await consumeAuditBatch(env, batch.messages as readonly Message<ReceivedMessage>[], Date.now());
        // Every change with an event is also recorded, so the outbox of events is likely to have some now.
        await requestOutboxDrain(env);
        break;
      case "agentauth-deliveries": {
        const messages = batch.messages as readonly Message<WebhookMessage>[];
        await consumeDeliveries(messages, env, loadConfig(env), (work) => ctx.waitUntil(work));
        break;
      }
      case "agentauth-deliveries-dead":
        await consumeDeadDeliveries(env.DB, batch.messages as readonly Message<WebhookMessage>[], Date.now());
        break;
      default:
        throw new Error(`no consumer for the queue ${batch.queue}`);
    }
  },
  async scheduled({ scheduledTime }, env) {
    await runScheduledJobs(env, loadConfig(env), scheduledTime);
  },
} satisfies ExportedHandler<Env>;
