import type { EventName } from "../../client/wire.ts";
import { readNumber } from "../arguments.ts";
import { show, type Call, type Command } from "../command.ts";
import { fields, table } from "../table.ts";
import { confirm } from "../terminal.ts";
import { visible } from "../visible.ts";
import { noteMore, readRows, wantedRows } from "../paging.ts";

const secretNotice = "The secret is shown once. Give it to the receiver, which checks signatures with it.";

const setActive = (word: string, is_active: boolean, summary: string): Command => ({
  path: ["webhooks", word],
  takes: "WEBHOOK_ID",
  words: { min: 1, max: 1 },
  summary,
  options: [],
  async run(call: Call) {
    const { client } = await call.connect();
    const [id = ""] = call.words;
    const answer = await client.updateWebhook(id, { is_active }, call);
    show(call, answer, () => `The webhook is ${answer.is_active ? "active" : "not active"}.`);
  },
});

export const webhookCommands: readonly Command[] = [
  {
    path: ["webhooks", "list"],
    takes: "",
    words: { min: 0, max: 0 },
    summary: "List your webhooks, or with --all those of all agents",
    options: ["all", "limit"],
    async run(call) {
      const { client } = await call.connect();
      const isAll = call.values.has("all");
      const details: Record<string, { is_active: boolean; disabled_reason: string | null }> = {};
      const { rows, hasMore } = await readRows(isAll ? Infinity : wantedRows(call), 200, async (limit, cursor) => {
        const page = await client.listAllWebhooks({ limit, cursor, ...(!isAll && { agent_id: undefined }) }, call);
        Object.assign(details, page.details);
        return { rows: page.webhooks, next: page.next_cursor };
      });
      show(call, { webhooks: rows, details, has_more: hasMore }, () =>
        rows.length === 0
          ? "There is no webhook."
          : table(
              ["ID", "AGENT", "URL", "EVENTS", "STATE"],
              rows.map(({ id, agent_id, url, events }) => [
                id,
                agent_id,
                url,
                events.length === 1 ? events[0] : `${events.length}`,
                details[id]?.is_active ? "active" : (details[id]?.disabled_reason ?? "disabled"),
              ]),
              call.terminal.stdout.columns,
            ),
      );
      noteMore(call, hasMore);
    },
  },
  {
    path: ["webhooks", "show"],
    takes: "WEBHOOK_ID",
    words: { min: 1, max: 1 },
    summary: "Show one webhook",
    options: [],
    async run(call) {
      const { client } = await call.connect();
      const [id = ""] = call.words;
      const answer = await client.getWebhook(id, call);
      const { webhook } = answer;
      show(call, answer, () =>
        fields({
          id: webhook.id,
          agent: webhook.agent_id,
          url: webhook.url,
          events: webhook.events.join(" "),
          "all agents": answer.all_agents ? "yes" : "no",
          state: answer.is_active ? "active" : (answer.disabled_reason ?? "disabled"),
          description: answer.description,
          created: webhook.created_at,
          updated: answer.updated_at,
        }),
      );
    },
  },
  {
    path: ["webhooks", "create"],
    takes: "URL EVENT…",
    words: { min: 2, max: 60 },
    summary: "Have events delivered to an https URL; the secret is shown once",
    options: ["description", "all-agents"],
    async run(call) {
      const { client } = await call.connect();
      const [url = "", ...events] = call.words;
      const answer = await client.registerWebhook(
        {
          url,
          events: events as EventName[],
          description: call.values.text("description"),
          ...(call.values.has("all-agents") && { all_agents: true }),
        },
        call,
      );
      const { webhook } = answer;
      show(call, answer, () => fields({ id: webhook.id, url: webhook.url, secret: webhook.secret }));
      if (!call.isJson) call.note(secretNotice);
    },
  },
  {
    path: ["webhooks", "events"],
    takes: "",
    words: { min: 0, max: 0 },
    summary: "List the events that a webhook can have",
    options: [],
    async run(call) {
      const { client } = await call.connect();
      const answer = await client.getWebhookEvents(call);
      show(call, answer, () => answer.events.map(visible).join("\n"));
    },
  },
  setActive("enable", true, "Deliver to a webhook again"),
  setActive("disable", false, "Deliver nothing to a webhook"),
  {
    path: ["webhooks", "test"],
    takes: "WEBHOOK_ID",
    words: { min: 1, max: 1 },
    summary: "Send a webhook.test event",
    options: [],
    async run(call) {
      const { client } = await call.connect();
      const [id = ""] = call.words;
      const answer = await client.testWebhook(id, call);
      show(call, answer, () => `${visible(answer.message)} Delivery ${visible(answer.delivery.id)}.`);
    },
  },
  {
    path: ["webhooks", "rotate-secret"],
    takes: "WEBHOOK_ID",
    words: { min: 1, max: 1 },
    summary: "Give a webhook a new secret, which is shown once",
    options: ["overlap"],
    async run(call) {
      const { client } = await call.connect();
      const [id = ""] = call.words;
      const overlap = readNumber(call.values.text("overlap"), "overlap", { min: 0, max: 604_800 });
      const answer = await client.regenerateWebhookSecret(id, { overlap_seconds: overlap }, call);
      show(call, answer, () => fields({ id: answer.webhook.id, secret: answer.webhook.secret }));
      if (!call.isJson) call.note(secretNotice);
    },
  },
  {
    path: ["webhooks", "delete"],
    takes: "WEBHOOK_ID",
    words: { min: 1, max: 1 },
    summary: "Delete a webhook with its deliveries",
    options: ["yes"],
    async run(call) {
      const { client } = await call.connect();
      const [id = ""] = call.words;
      const { webhook } = await client.getWebhook(id, call);
      await confirm(call.terminal, `Delete the webhook to ${visible(webhook.url)} with its deliveries?`, {
        isConfirmed: call.values.has("yes"),
      });
      const answer = await client.deleteWebhook(id, call);
      show(call, answer, () => visible(answer.message));
    },
  },
];
