import { consumeActivities } from "./activity/consume.ts";
import type { ActivityMessage } from "./activity/record.ts";
import { app } from "./app.ts";

export default {
  fetch: app.fetch,
  async queue(batch, env) {
    await consumeActivities(
      env.DB,
      batch.messages.map(({ body }) => body as ActivityMessage),
    );
  },
} satisfies ExportedHandler<Env>;
