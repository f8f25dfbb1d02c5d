import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";
import { call, check, say, step, until } from "./transcript.ts";

interface Arrival {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A receiver on this machine that fails the first time it is called. */
async function startReceiver() {
  const arrivals: Arrival[] = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    arrivals.push({ headers: request.headers, body });
    response.writeHead(arrivals.length === 1 ? 500 : 200).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/agentauth`;
  return { url, arrivals, close: () => server.close() };
}

/** A delivery that fails, is tried again and arrives, verified; and the same one once more by hand. */
export async function demoWebhooks(agentToken: string, agentId: string, adminToken: string): Promise<void> {
  const receiver = await startReceiver();
  const { arrivals } = receiver;

  step("The owner has events delivered to a receiver on this machine");
  const made = await call("POST", "/webhooks", {
    token: agentToken,
    body: { url: receiver.url, events: ["agent.tier_updated"] },
  });
  const { id, secret } = made.body.webhook ?? {};
  check(
    "the webhook is registered, and its secret is shown this once",
    made.status === 201 && String(secret).startsWith("whsec_"),
  );
  const tier = await call("PUT", `/agents/${agentId}/tier`, { token: adminToken, body: { tier: "pro" } });
  check("the administrator changes the agent's tier", tier.status === 200);
  await until("the event is delivered, and the receiver answers 500", async () => arrivals[0]);

  step("The receiver failed: the delivery is tried again, 5 seconds later");
  const delivery = await until(
    "it arrives",
    async () => {
      const listed = await call("GET", `/webhooks/${id}/deliveries`, { token: agentToken, quiet: true });
      return listed.body.deliveries?.find((one: { status: string }) => one.status === "success");
    },
    20,
  );
  const [first, second] = arrivals;
  say(`attempts: ${delivery.attempts}, webhook-id: ${delivery.id}`);
  check("under the same id as before", first?.headers["webhook-id"] === second?.headers["webhook-id"]);
  const event = verified(secret, second);
  check("its signature is good: the public standardwebhooks library says so", event !== undefined);
  check("and it says what happened", event?.event === "agent.tier_updated" && event.agent_id === agentId);
  say(String(second?.body));
  const forged = second && { ...second, body: second.body.replace('"pro"', '"enterprise"') };
  check("a body that was changed on the way is not believed", verified(secret, forged) === undefined);

  step("The owner asks for the same delivery once more");
  const again = await call("POST", `/webhooks/${id}/deliveries/${delivery.id}/redeliver`, { token: agentToken });
  check("it is on its way", again.status === 200);
  const third = await until("it arrives", async () => arrivals[2]);
  check("under the same id, so that the receiver knows it", third.headers["webhook-id"] === delivery.id);
  receiver.close();
}

function verified(secret: string, arrival: Arrival | undefined): Record<string, unknown> | undefined {
  if (!arrival) return undefined;
  try {
    return new Webhook(secret).verify(arrival.body, arrival.headers as Record<string, string>) as never;
  } catch {
    return undefined;
  }
}
