import type { WebhookListResponse } from "../../client/wire.ts";
import { useList } from "../load.ts";
import { read, segment } from "../request.ts";
import { plural } from "../text.ts";
import { Card, Quoted, Rows } from "../ui.tsx";
import { WebhookBadge } from "./webhooks.tsx";

/** The webhooks that an agent has registered. */
export function AgentWebhooks({ id }: { id: string }) {
  const list = useList(`webhooks of ${id}`, async (cursor, signal) => {
    const page = await read<WebhookListResponse>("/webhooks", { agent_id: id, cursor, limit: 10 }, signal);
    return {
      rows: page.webhooks.map((webhook) => ({ webhook, summary: page.details[webhook.id]! })),
      next: page.next_cursor,
    };
  });
  return (
    <Card title="Webhooks" pad={false}>
      <Rows of={list} lines={2} empty={<p class="faint pad">It has registered none.</p>}>
        {(rows) => (
          <ul class="list">
            {rows.map(({ webhook, summary }) => (
              <li key={webhook.id}>
                <div>
                  <a href={`/console/webhooks/${segment(webhook.id)}`}>
                    <Quoted text={webhook.url} most={120} brief />
                  </a>
                  <div class="s">{plural(webhook.events.length, "event")}</div>
                </div>
                <WebhookBadge isActive={summary.is_active} reason={summary.disabled_reason} />
              </li>
            ))}
          </ul>
        )}
      </Rows>
    </Card>
  );
}

/** Where an owner finds the webhooks of their agent: the API lists them for the agent itself, administrators and auditors. */
export const WebhooksElsewhere = ({ id }: { id: string }) => (
  <Card title="Webhooks">
    <p>
      The agent itself lists its webhooks and what they were sent, with its key: <code>agentauth webhooks list</code>.
      Administrators and auditors see them here.
    </p>
    <p>
      <a href={`/console/activity?agent_id=${segment(id)}&action=webhook.disabled`}>
        Those that were switched off after failures
      </a>
    </p>
  </Card>
);
