import { consumeActivities } from "./activity/consume.ts";
import type { ActivityMessage } from "./activity/record.ts";
import { app } from "./app.ts";
import { loadConfig } from "./config.ts";
import { keepHouse } from "./housekeeping.ts";

export default {
  fetch: app.fetch,
  async queue(batch, env) {
    await consumeActivities(
      env.DB,
      batch.messages.map(({ body }) => body as ActivityMessage),
    );
  },
  async scheduled({ scheduledTime }, env) {
    await keepHouse(env, loadConfig(env), scheduledTime);
  },
} satisfies ExportedHandler<Env>;
