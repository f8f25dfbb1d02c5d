import { newApiKey } from "../../../src/agents/api-key.ts";
import { family } from "../family.ts";
import { mustBe, type Lab } from "../lab.ts";

type Flood = {
  readonly kind: "refused requests" | "refused requests of administrators' endpoints" | "strangers' verifications";
  readonly requests: number;
};

/** Webhooks of the flooding agent, all at one third party. */
const WEBHOOKS = 20;

/** What one minute's flood of one agent may bring a third party: messages, and bytes for each byte that the agent sent. */
const MAX_MESSAGES = 400;
const MAX_AMPLIFICATION = 1;
/** Messages that strangers' failures at one agent may cause in a minute, and rows of its activity that they may leave. */
const MAX_MESSAGES_OF_STRANGERS = 100;
const MAX_ROWS_OF_STRANGERS = 10;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Lets queues and schedules run until nothing more arrives, and so many have arrived or five minutes are over. */
async function settle(lab: Lab, count: () => number, longestMs: number, atLeast = 0): Promise<void> {
  const began = Date.now();
  const isOver = () => Date.now() > began + (count() < atLeast ? 300_000 : longestMs);
  for (let still = 0, before = 0; (still < 3 || count() < atLeast) && !isOver();) {
    await lab.own?.runJobs();
    await pause(1500);
    still = count() === before ? still + 1 : 0;
    before = count();
  }
}

export const floods = family<Flood>(
  "floods",
  "a third party's receiver, or the database, filled by one agent that may do nothing",
  (_, size) => {
    const requests = size === "full" ? 60 : 40;
    return [
      { kind: "refused requests", requests },
      { kind: "refused requests of administrators' endpoints", requests },
      { kind: "strangers' verifications", requests: 25 },
    ];
  },
  async (lab, inputs) => {
    const through: string[] = [];
    await lab.each(inputs, async ({ kind, requests }, index) => {
      const agent = await lab.agent(["zendesk:tickets:read"]);
      const hookName = `flood${index}`;
      const events = ["gateway.denied", "agent.verification_failed"];
      for (let made = 0; made < WEBHOOKS; made++) {
        const json = { url: `${lab.upstream.url}/hooks/${hookName}/${made}`, events };
        mustBe("a webhook", (await lab.call("POST", "/webhooks", { token: agent.token, json })).status, 201);
      }
      // A receiver that fails is asked again.
      lab.upstream.answers.set(hookName, (_, response) => void response.writeHead(500).end());
      let sent = 0;
      const began = Date.now();
      const stranger = "f".repeat(40);
      await lab.each(
        Array.from({ length: requests }),
        async (_, at) => {
          const path =
            kind === "refused requests"
              ? `/proxy/github/repos/o/r/contents/${String(at).padEnd(8000, "x")}`
              : `/agents/${stranger}/activity?x=${"x".repeat(4000)}`;
          if (kind === "strangers' verifications") {
            // One without the form of a key would not get as far as the database.
            const json = { agent_id: agent.id, api_key: newApiKey() };
            await lab.call("POST", "/agents/verify", { json, headers: [`CF-Connecting-IP: ${lab.address()}`] });
          } else {
            const { status } = await lab.send({ target: path, token: agent.token });
            mustBe("a request that is not allowed", status, 403);
            sent += path.length + 600;
          }
        },
        10,
      );
      const received = () => lab.upstream.tagged(hookName);
      await settle(lab, () => received().length, 15_000, kind === "refused requests" ? 1 : 0);
      if (kind === "refused requests") mustBe("the first refusals are told", received().length > 0, true);
      const bytes = received().reduce((sum, { body }) => sum + body.length, 0);
      const isStrangers = kind === "strangers' verifications";
      // The limits are those of a minute of the clock. A flood may begin in one and end in the next, and a minute that ends while the
      // messages arrive adds those about what was only counted in it.
      const minutes = () => Math.floor(Date.now() / 60_000) - Math.floor(began / 60_000) + 1;
      if (received().length > (isStrangers ? MAX_MESSAGES_OF_STRANGERS : MAX_MESSAGES) * minutes())
        through.push(`${kind}: ${requests} requests became ${received().length} messages`);
      else if (!isStrangers && bytes > sent * MAX_AMPLIFICATION * minutes())
        through.push(`${kind}: ${sent} bytes became ${bytes}`);
      if (kind === "strangers' verifications") {
        const failures = async () => {
          const { body } = await lab.call("GET", `/agents/${agent.id}/activity?limit=100`, { token: agent.token });
          return (body.activity as Array<{ status: string }>).filter(({ status }) => status === "failure").length;
        };
        let rows = await failures();
        for (const until = Date.now() + 300_000; rows === 0 && Date.now() < until; rows = await failures())
          await pause(500);
        mustBe("failures are in the activity", rows > 0, true);
        if (rows > MAX_ROWS_OF_STRANGERS * minutes()) through.push(`${kind}: ${requests} failures left ${rows} rows`);
      }
    });
    return { through };
  },
);

type Trace = {
  readonly kind: "an administrator's address" | "the last calls of a deleted agent";
  readonly round: number;
};

export const records = family<Trace>(
  "records",
  "an administrator's address in an agent's activity, or calls that leave no record",
  (_, size) =>
    (["an administrator's address", "the last calls of a deleted agent"] as const).flatMap((kind) =>
      Array.from({ length: size === "full" ? 5 : 1 }, (_, round) => ({ kind, round })),
    ),
  async (lab, inputs) => {
    const through: string[] = [];
    await lab.each(inputs, async ({ kind, round }, index) => {
      const agent = await lab.agent(["vault:public:read"]);
      if (kind === "an administrator's address") {
        const address = `198.51.100.${index + 1}`;
        const hookName = `records${index}`;
        const hook = {
          url: `${lab.upstream.url}/hooks/${hookName}`,
          events: ["agent.status_updated", "agent.tier_updated", "agent.permissions_updated"],
        };
        mustBe("a webhook", (await lab.call("POST", "/webhooks", { token: agent.token, json: hook })).status, 201);
        const headers = [`CF-Connecting-IP: ${address}`];
        await lab.call("PUT", `/agents/${agent.id}/tier`, { token: lab.admin.token, json: { tier: "pro" }, headers });
        await lab.call("PUT", `/agents/${agent.id}/permissions`, {
          token: lab.admin.token,
          json: { permissions: ["vault:public:read", "vault:secret:read"] },
          headers,
        });
        await lab.call("PUT", `/agents/${agent.id}/status`, {
          token: lab.admin.token,
          json: { status: "active" },
          headers,
        });
        await settle(lab, () => lab.upstream.tagged(hookName).length, 10_000);
        const { status, body } = await lab.call("GET", `/agents/${agent.id}/activity?limit=100`, {
          token: agent.token,
        });
        mustBe("an agent reads its activity", status, 200);
        if (JSON.stringify(body).includes(address)) through.push(`${kind}, ${round}: in the activity`);
        if (lab.upstream.tagged(hookName).some((arrival) => arrival.body.includes(address)))
          through.push(`${kind}, ${round}: in an event`);
        return;
      }
      const calls = 5;
      for (let call = 0; call < calls; call++)
        mustBe("a call", (await lab.send({ target: `/proxy/vault/public/${call}`, token: agent.token })).status, 200);
      mustBe(
        "the agent is deleted",
        (await lab.call("DELETE", `/agents/${agent.id}`, { token: lab.admin.token })).status,
        200,
      );
      let kept = 0;
      for (const until = Date.now() + 300_000; Date.now() < until && kept < calls; await pause(500)) {
        const { body } = await lab.call("GET", `/activity?agent_id=${agent.id}&limit=100`, { token: lab.admin.token });
        kept = (body.activity as Array<{ message: string }>).filter(({ message }) =>
          message.includes("/public/"),
        ).length;
      }
      if (kept < calls) through.push(`${kind}, ${round}: ${calls - kept} of ${calls} calls left no record`);
    });
    return { through };
  },
);
