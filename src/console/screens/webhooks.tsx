import { useState } from "preact/hooks";
import type {
  AllDeliveriesResponse,
  Delivery,
  DeliveryHistoryResponse,
  NewWebhookResponse,
  RedeliverAllResponse,
  WebhookListResponse,
  WebhookResponse,
} from "../../client/wire.ts";
import { useAction, useList, useLoad, type Loaded } from "../load.ts";
import { change, read, segment } from "../request.ts";
import { navigate, query, setQuery } from "../router.ts";
import { isAdmin, notify } from "../state.ts";
import { duration, number, plural, shortId } from "../text.ts";
import {
  ActionButton,
  Badge,
  Button,
  Card,
  Choice,
  Copyable,
  Destroy,
  Dialog,
  Empty,
  Facts,
  Field,
  FormDialog,
  PageHead,
  Quoted,
  Ready,
  ReadyScreen,
  Rows,
  SecretOnce,
  Tag,
  Time,
} from "../ui.tsx";

const pathOf = (id: string): string => `/webhooks/${segment(id)}`;

export function WebhookList() {
  const list = useList("webhooks", async (cursor, signal) => {
    const page = await read<WebhookListResponse>("/webhooks", { agent_id: "*", cursor, limit: 50 }, signal);
    return {
      rows: page.webhooks.map((webhook) => ({ webhook, summary: page.details[webhook.id]! })),
      next: page.next_cursor,
    };
  });
  return (
    <>
      <PageHead title="Webhooks" sub="Where events are delivered, everybody’s.">
        <a class="btn" href="/console/deliveries?status=failed">
          Failed deliveries
        </a>
      </PageHead>
      <Card pad={false}>
        <Rows
          of={list}
          empty={
            <Empty title="No webhooks.">
              An agent registers one with its token:
              <pre>{`curl ${location.origin}/webhooks -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' \\
  -d '{"url": "https://hooks.example.com/agentauth", "events": ["agent.revoked"]}'`}</pre>
            </Empty>
          }
        >
          {(rows) => (
            <table class="stack">
              <thead>
                <tr>
                  <th>Webhook</th>
                  <th>Status</th>
                  <th class="hide">Events</th>
                  <th class="hide">Agent</th>
                  <th class="num hide">Registered</th>
                </tr>
              </thead>
              <tbody>
                {rows.map(({ webhook, summary }) => (
                  <tr key={webhook.id}>
                    <td>
                      <a class="t" href={`/console/webhooks/${segment(webhook.id)}`}>
                        <Quoted text={webhook.url} most={120} brief />
                      </a>
                      {summary.description && (
                        <div class="s">
                          <Quoted text={summary.description} most={120} />
                        </div>
                      )}
                    </td>
                    <td>
                      <WebhookBadge isActive={summary.is_active} reason={summary.disabled_reason} />
                    </td>
                    <td class="hide s nowrap">{plural(webhook.events.length, "event")}</td>
                    <td class="hide mono s nowrap">
                      <a href={`/console/agents/${segment(webhook.agent_id)}`}>{shortId(webhook.agent_id)}</a>
                    </td>
                    <td class="num hide">
                      <Time at={webhook.created_at} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </Rows>
      </Card>
    </>
  );
}

export const WebhookBadge = ({ isActive, reason }: { isActive: boolean; reason: string | null }) =>
  isActive ? (
    <Badge tone="good">Active</Badge>
  ) : (
    <Badge tone={reason ? "bad" : "mute"}>{reason ? "Disabled" : "Off"}</Badge>
  );

export function WebhookScreen({ id }: { id: string }) {
  const loaded = useLoad(`webhook ${id}`, (signal) => read<WebhookResponse>(pathOf(id), {}, signal));
  return (
    <ReadyScreen of={loaded} kind="Webhook" all={{ href: "/console/webhooks", name: "All webhooks" }}>
      {(response) => <OneWebhook of={response} loaded={loaded} />}
    </ReadyScreen>
  );
}

function OneWebhook({ of: { webhook, ...state }, loaded }: { of: WebhookResponse; loaded: Loaded<WebhookResponse> }) {
  const [dialog, setDialog] = useState<"secret" | "delete">();
  const close = () => setDialog(undefined);
  const path = pathOf(webhook.id);
  const switchTo = async (isActive: boolean) => {
    await change("PUT", path, { is_active: isActive });
    loaded.reload();
  };
  const deliveries = useDeliveries({ webhook_id: webhook.id });
  return (
    <>
      <PageHead
        title={<Quoted text={webhook.url} most={200} />}
        isAddress
        sub={
          <>
            <WebhookBadge isActive={state.is_active} reason={state.disabled_reason} /> <Copyable value={webhook.id} />
          </>
        }
      >
        {isAdmin.value && (
          <>
            <ActionButton
              work={async () => {
                await change("POST", `${path}/test`);
                notify("A test is on its way. It stands first among the deliveries.");
                deliveries.reload();
              }}
            >
              Send a test
            </ActionButton>
            <ActionButton
              work={async () => {
                const next = !state.is_active;
                await switchTo(next);
                notify(next ? "The webhook is on." : "The webhook is off: nothing is delivered.", () =>
                  switchTo(!next),
                );
              }}
            >
              {state.is_active ? "Switch off" : "Switch on"}
            </ActionButton>
            <Button onClick={() => setDialog("secret")}>New secret</Button>
            <Button kind="danger" onClick={() => setDialog("delete")}>
              Delete
            </Button>
          </>
        )}
      </PageHead>
      {state.disabled_reason && (
        <p class="note">
          It was switched off <Time at={state.disabled_at} />: <Quoted text={state.disabled_reason} most={300} />
        </p>
      )}
      <div class="grid two">
        <DeliveryCard deliveries={deliveries} filter={{ webhook_id: webhook.id }} />
        <Card title="About">
          <Facts
            rows={[
              state.description !== null && ["Description", <Quoted text={state.description} most={300} />],
              [
                "Agent",
                <>
                  <Copyable value={webhook.agent_id} short />{" "}
                  <a class="s" href={`/console/agents/${segment(webhook.agent_id)}`}>
                    Open
                  </a>
                </>,
              ],
              ["Reaches", state.all_agents ? "events of every agent" : "its agent’s events"],
              ["Registered", <Time at={webhook.created_at} />],
              state.previous_secret_expires_at !== null && [
                "Former secret",
                <>
                  signs until <Time at={state.previous_secret_expires_at} />
                </>,
              ],
            ]}
          />
          <div class="tags">
            {webhook.events.map((event) => (
              <Tag text={event} />
            ))}
          </div>
        </Card>
      </div>
      {dialog === "secret" && <NewSecret path={path} close={close} made={loaded.reload} />}
      {dialog === "delete" && (
        <Destroy
          title="Delete this webhook"
          name={hostOf(webhook.url)}
          what="host"
          label="Delete"
          close={close}
          work={async () => {
            await change("DELETE", path);
            navigate("/console/webhooks", true);
          }}
        >
          <p>Its deliveries go with it, also those that were not made yet. To stop it for a while, switch it off.</p>
        </Destroy>
      )}
    </>
  );
}

const hostOf = (url: string): string => URL.parse(url)?.host ?? url;

const OVERLAPS = [0, 3600, 86_400, 7 * 86_400];

function NewSecret({ path, close, made }: { path: string; close: () => void; made: () => void }) {
  const [overlap, setOverlap] = useState("86400");
  const [secret, setSecret] = useState<string>();
  const action = useAction(async () => {
    const { webhook } = await change<NewWebhookResponse>("POST", `${path}/regenerate-secret`, {
      overlap_seconds: Number(overlap),
    });
    setSecret(webhook.secret);
    made();
  });
  if (secret) return <SecretOnce title="The new signing secret" secret={secret} file="webhook.secret" close={close} />;
  return (
    <FormDialog title="New signing secret" action={action} label="Make the secret" close={close}>
      <Field label="The former secret signs too for" hint="Long enough to put the new one in place at the receiver.">
        {(id, described) => (
          <select
            id={id}
            aria-describedby={described}
            value={overlap}
            onChange={(event) => setOverlap(event.currentTarget.value)}
          >
            {OVERLAPS.map((seconds) => (
              <option value={String(seconds)} selected={overlap === String(seconds)}>
                {seconds === 0 ? "no time: it ends at once" : duration(seconds)}
              </option>
            ))}
          </select>
        )}
      </Field>
    </FormDialog>
  );
}

type Filter = Readonly<Partial<Record<"webhook_id" | "status" | "event" | "agent_id", string>>>;

const useDeliveries = (filter: Filter) =>
  useList<Delivery>(`deliveries ${JSON.stringify(filter)}`, async (cursor, signal) => {
    const page = await read<AllDeliveriesResponse>("/deliveries", { ...filter, cursor, limit: 50 }, signal);
    return { rows: page.deliveries, next: page.next_cursor };
  });

const TONES = { pending: "warn", success: "good", failed: "bad" } as const;
const STATUSES = [
  { value: "", label: "Any status" },
  { value: "pending", label: "Pending" },
  { value: "success", label: "Success" },
  { value: "failed", label: "Failed" },
];

/** The deliveries of all webhooks. */
export function Deliveries() {
  const status = query.value.get("status") ?? "";
  const filter: Filter = { ...(status && { status }) };
  const deliveries = useDeliveries(filter);
  return (
    <>
      <PageHead title="Deliveries" sub="Of all webhooks, the newest first." />
      <div class="filters">
        <Choice label="Status" value={status} options={STATUSES} choose={(value) => setQuery({ status: value })} />
      </div>
      <DeliveryCard deliveries={deliveries} filter={filter} />
    </>
  );
}

function DeliveryCard({ deliveries, filter }: { deliveries: ReturnType<typeof useDeliveries>; filter: Filter }) {
  const [open, setOpen] = useState<Delivery>();
  return (
    <Card
      title="Deliveries"
      pad={false}
      action={isAdmin.value && <RedeliverMany filter={filter} done={deliveries.reload} />}
    >
      <Rows
        of={deliveries}
        empty={
          <Empty title={filter.status ? `No delivery is “${filter.status}”.` : "No deliveries."}>
            Events that are subscribed to appear here; a test does too.
          </Empty>
        }
      >
        {(rows) => (
          <table class="stack">
            <thead>
              <tr>
                <th>Event</th>
                <th class="hide">Attempts</th>
                <th>Answer</th>
                <th class="num">Status</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((delivery) => (
                <tr key={delivery.id}>
                  <td>
                    <button type="button" class="link t" onClick={() => setOpen(delivery)}>
                      {delivery.event}
                    </button>
                    <div class="s">
                      <Time at={delivery.created_at} />
                    </div>
                  </td>
                  <td class="hide">{delivery.attempts}</td>
                  <td class="detail">
                    <span class="clip">
                      <Quoted
                        text={
                          delivery.error ??
                          (delivery.response_status === null ? "not sent yet" : String(delivery.response_status))
                        }
                        most={160}
                      />
                    </span>
                  </td>
                  <td class="num">
                    <Badge tone={TONES[delivery.status]}>{delivery.status}</Badge>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </Rows>
      {open && (
        <OneDelivery
          delivery={open}
          close={() => setOpen(undefined)}
          repeated={() => {
            setOpen(undefined);
            deliveries.reload();
          }}
        />
      )}
    </Card>
  );
}

/** What came of each attempt, and what each sends. */
function Attempts({ delivery }: { delivery: Delivery }) {
  const path = `${pathOf(delivery.webhook_id)}/deliveries/${segment(delivery.id)}`;
  const loaded = useLoad(`attempts ${delivery.id}`, (signal) => read<DeliveryHistoryResponse>(path, {}, signal));
  return (
    <Ready of={loaded} lines={2}>
      {({ attempts, request_body: sent }) => (
        <>
          {attempts.length > 0 && <h3>The last attempts</h3>}
          {attempts.map((attempt) => (
            <div class="field" key={attempt.at}>
              <div>
                <b>{attempt.response_status ?? "No answer"}</b> <Time at={attempt.at} exact />, after{" "}
                {number(attempt.duration_ms)} ms
              </div>
              {attempt.error !== null && (
                <div class="s">
                  <Quoted text={attempt.error} most={200} />
                </div>
              )}
              {attempt.response_body && (
                <div class="pre">
                  <Quoted text={attempt.response_body} most={300} lines />
                </div>
              )}
            </div>
          ))}
          {sent !== null && (
            <>
              <h3>What is sent</h3>
              <div class="pre">
                <Quoted text={sent} most={2000} lines />
              </div>
            </>
          )}
        </>
      )}
    </Ready>
  );
}

function OneDelivery({ delivery, close, repeated }: { delivery: Delivery; close: () => void; repeated: () => void }) {
  return (
    <Dialog title="Delivery" close={close} drawer>
      <div>
        <p>
          <Badge tone={TONES[delivery.status]}>{delivery.status}</Badge> <b class="mono">{delivery.event}</b>
        </p>
        <Facts
          rows={[
            ["Made", <Time at={delivery.created_at} exact />],
            ["Last change", <Time at={delivery.updated_at} exact />],
            ["Attempts", String(delivery.attempts)],
            delivery.next_attempt_at !== null && ["Next attempt", <Time at={delivery.next_attempt_at} exact />],
            ["Answered", delivery.response_status === null ? "nothing" : String(delivery.response_status)],
            delivery.error !== null && ["Fault", <Quoted text={delivery.error} most={400} />],
            ["About", <Copyable value={delivery.agent_id} />],
            ["Delivery", <Copyable value={delivery.id} />],
            ["Event", <Copyable value={delivery.event_id} />],
            [
              "Webhook",
              <a href={`/console/webhooks/${segment(delivery.webhook_id)}`}>{shortId(delivery.webhook_id)}</a>,
            ],
          ]}
        />
        {delivery.response_body !== null && (
          <>
            <h3>What the receiver answered</h3>
            <div class="pre">
              <Quoted text={delivery.response_body} most={1200} lines />
            </div>
          </>
        )}
        <Attempts delivery={delivery} />
        {isAdmin.value && (
          <div class="actions">
            <ActionButton
              kind="primary"
              work={async () => {
                await change("POST", `${pathOf(delivery.webhook_id)}/deliveries/${segment(delivery.id)}/redeliver`);
                notify("The delivery is attempted again.");
                repeated();
              }}
            >
              Deliver again
            </ActionButton>
          </div>
        )}
      </div>
    </Dialog>
  );
}

/** Starts failed deliveries again: counted first, and then confirmed. */
function RedeliverMany({ filter, done }: { filter: Filter; done: () => void }) {
  const [counted, setCounted] = useState<RedeliverAllResponse>();
  const wanted = { ...filter, status: "failed" };
  const redeliver = (dryRun: boolean) =>
    change<RedeliverAllResponse>("POST", "/deliveries/redeliver", { filter: wanted, dry_run: dryRun });
  return (
    <>
      <ActionButton small work={async () => setCounted(await redeliver(true))}>
        Deliver failed ones again
      </ActionButton>
      {counted && (
        <Dialog title="Deliver failed ones again" close={() => setCounted(undefined)}>
          <p>
            {counted.matched === 0
              ? "None of the deliveries that were searched has failed."
              : `${plural(counted.matched, "delivery", "deliveries")} would be attempted again, under the same ids.`}
          </p>
          <div class="actions">
            <Button onClick={() => setCounted(undefined)}>Cancel</Button>
            {counted.matched > 0 && (
              <ActionButton
                kind="primary"
                work={async () => {
                  const { redelivered } = await redeliver(false);
                  setCounted(undefined);
                  notify(`${plural(redelivered, "delivery is", "deliveries are")} attempted again.`);
                  done();
                }}
              >
                Deliver them again
              </ActionButton>
            )}
          </div>
        </Dialog>
      )}
    </>
  );
}
