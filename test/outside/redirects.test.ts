// @module-tag slow
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { AgentAuthClient } from "../../src/client/index.ts";
import { startRecorder, type Recorder } from "./support/recorder.ts";
import { startWorker, type Agent, type Worker } from "./support/worker.ts";

/** An upstream that wants an agent to write to another service, or to end its own tokens, by where its answers lead. */
let hostile: Recorder;
let slack: Recorder;
let worker: Worker;
let agent: Agent;
let link: string;

beforeAll(async () => {
  hostile = await startRecorder((request, response) => {
    // A redirect is followed once: what it leads to answers.
    if (request.url !== "/start" && request.url !== "/api/v2/tickets") return void response.writeHead(200).end("{}");
    const status = request.method === "POST" ? 307 : 200;
    const headers = {
      "content-type": "application/json",
      "content-location": link,
      link: `<${link}>; rel="next"`,
      ...(status === 307 && { location: link }),
    };
    response.writeHead(status, headers).end(JSON.stringify({ next_page: link, links: { next: link } }));
  });
  slack = await startRecorder();
  worker = await startWorker({
    ISSUER: "https://auth.example.com",
    "UPSTREAMS.orders": JSON.stringify({
      base_url: hostile.url,
      resources: { things: ["read", "write"] },
      rules: ["* /{path...} things"],
    }),
    "UPSTREAMS.zendesk.base_url": hostile.url,
    "UPSTREAMS.slack.base_url": slack.url,
    UPSTREAM_ORDERS_TOKEN: "orders-credential-of-the-company",
    UPSTREAM_ZENDESK_TOKEN: "zendesk-credential-of-the-company",
    UPSTREAM_SLACK_TOKEN: "slack-credential-of-the-company",
  });
  agent = await worker.agent(["orders:*:*", "zendesk:*:*", "slack:*:*"]);
});
afterAll(async () => {
  hostile?.close();
  slack?.close();
  await worker?.stop();
});
beforeEach(() => {
  hostile.seen.length = 0;
  slack.seen.length = 0;
});

const TARGETS = ["proxy/slack/api/chat.postMessage", "agents/revoke-tokens"];
const SPELLINGS: ((target: string) => string)[] = [
  (target) => `${hostile.url}/../../${target}`,
  (target) => `${hostile.url}/%2e%2e/.%2E/${target}`,
  (target) => `${hostile.url}/..%2f..%2f${target}`,
  (target) => `${hostile.url}/..\\..\\${target}`,
  (target) => `${hostile.url}//${target}`,
  (target) => `${worker.url}/${target}`,
  (target) => `HTTP://LOCALHOST:${worker.port}/${target}`,
  (target) => `http://2130706433:${worker.port}/${target}`,
  (target) => `//127.0.0.1:${worker.port}/${target}`,
  (target) => `/\\127.0.0.1:${worker.port}/${target}`,
  (target) => `\\\\127.0.0.1:${worker.port}\\${target}`,
  (target) => `/\t/127.0.0.1:${worker.port}/${target}`,
  (target) => `http://x@127.0.0.1:${worker.port}/${target}`,
  (target) => `https://auth.example.com/${target}`,
  (target) => `/${target}`,
  (target) => `../../${target}`,
  (target) => `../../../../../${target}`,
  (target) => `../orders/../../${target}`,
  (target) => `?/../../${target}`,
];
const LINKS = TARGETS.flatMap((target) => SPELLINGS.map((spell) => () => spell(target)));

/** What was called of the gateway's own or of another service ended the token, or reached Slack. */
async function expectNoHarm(): Promise<void> {
  expect(slack.seen).toEqual([]);
  const { status } = await worker.call("/proxy/slack/api/conversations.list", { token: agent.token });
  expect(status).toBe(200);
}

describe("where an upstream's answer leads", () => {
  it.each(LINKS.map((spell, index) => [index, spell] as const))(
    "a client that follows is at the same service or at a stranger's without a token: %i",
    async (_, spell) => {
      link = spell();
      const headers = { authorization: `Bearer ${agent.token}`, "content-type": "application/json" };
      const init = { method: "POST", headers, body: '{"channel":"C1","text":"x"}' };
      await fetch(`${worker.url}/proxy/orders/start`, init).catch(() => undefined);
      const client = new AgentAuthClient({ baseUrl: worker.url, accessToken: agent.token });
      await client
        .proxy("orders")("/start", init)
        .catch(() => undefined);

      for (const url of [`${worker.url}/proxy/orders/start`, `${worker.url}/proxy/zendesk/api/v2/tickets`]) {
        const answer = await fetch(url, { headers });
        const body = (await answer.json()) as { next_page: string; links: { next: string } };
        const offered = [
          answer.headers.get("content-location"),
          answer.headers.get("link")?.match(/<(.*?)>/)?.[1],
          ...(url.includes("zendesk") ? [body.next_page, body.links.next] : []),
        ];
        for (const one of offered) {
          if (!one) continue;
          const next = new URL(one, url);
          if (next.port !== String(worker.port)) continue;
          expect(next.pathname).toMatch(/^\/proxy\/(?:orders|zendesk)(?:\/|$)/);
          await fetch(next, init).catch(() => undefined);
        }
      }
      await expectNoHarm();
      // With the company's credential only the service itself was called, and with the agent's token nobody.
      expect(JSON.stringify(hostile.seen)).not.toContain(agent.token);
    },
  );
});
