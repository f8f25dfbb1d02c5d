// @module-tag slow
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startRecorder, type Recorder } from "./support/recorder.ts";
import { startWorkers, type Agent, type Worker } from "./support/worker.ts";
import { SLOW } from "../support/extents.ts";

/** Seconds. Small, so that the test can wait for it; what holds for it holds for any other. */
const BOUND = 2;
/** Long enough for two requests, whatever else the machine does meanwhile. */
const GRACE = 6;

let upstream: Recorder;
/** The isolate that makes the changes, and another one that has the agent cached as active. */
let here: Worker;
let elsewhere: Worker;
let admin: Agent;

beforeAll(async () => {
  upstream = await startRecorder();
  const lab = {
    base_url: upstream.url,
    resources: { things: ["read", "write"] },
    rules: ["* /things/{id} things"],
  };
  [here, elsewhere] = (await startWorkers(2, {
    ISSUER: "https://auth.example.com",
    STANDING_TTL_SECONDS: String(BOUND),
    REFRESH_GRACE_SECONDS: String(GRACE),
    "UPSTREAMS.lab": JSON.stringify(lab),
    UPSTREAM_LAB_TOKEN: "lab-credential",
  })) as [Worker, Worker];
  admin = await here.admin();
});

afterAll(async () => {
  upstream?.close();
  await here?.stop();
});

const wait = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const everywhere = () => [here, elsewhere];
const byAdmin = (path: string, method: string, json?: unknown) =>
  here.call(path, { method, token: admin.token, ...(json !== undefined && { json }) });

const read = async (where: Worker, { token }: Agent) => (await where.call("/proxy/lab/things/1", { token })).status;
const write = async (where: Worker, { token }: Agent) =>
  (await where.call("/proxy/lab/things/1", { method: "POST", token, json: {} })).status;
const verify = async (where: Worker, { id, apiKey }: Agent) =>
  (await where.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } })).status;
const refresh = async (where: Worker, { refreshToken }: Agent) =>
  (await where.call("/agents/refresh", { method: "POST", json: { refresh_token: refreshToken } })).status;
const self = async (where: Worker, { id, token }: Agent) => (await where.call(`/agents/${id}`, { token })).status;

/** An agent that both isolates have cached as active. */
async function knownAgent(): Promise<Agent> {
  const agent = await here.agent(["lab:things:read", "lab:things:write"]);
  for (const where of everywhere()) {
    expect([await read(where, agent), await write(where, agent), await self(where, agent)]).toEqual([200, 200, 200]);
  }
  return agent;
}

const ENDS: [what: string, end: (agent: Agent) => Promise<{ status: number }>, verifies: boolean][] = [
  ["revoke", ({ id }) => byAdmin(`/agents/${id}/revoke`, "POST"), false],
  ["suspend", ({ id }) => byAdmin(`/agents/${id}/status`, "PUT", { status: "suspended" }), false],
  ["revoke-tokens", ({ token }) => here.call("/agents/revoke-tokens", { method: "POST", token }), true],
  ["delete", ({ id }) => byAdmin(`/agents/${id}`, "DELETE"), false],
];

describe("the bound of a revocation, in two isolates over one database", () => {
  it.each(ENDS)("%s: everything but reads ends with the next request", async (_, end, verifies) => {
    const agent = await knownAgent();
    expect((await end(agent)).status).toBe(200);
    for (const where of everywhere()) {
      expect(await write(where, agent)).toBe(401);
      expect(await self(where, agent)).toBe(401);
      expect(await refresh(where, agent)).toBe(401);
      expect(await verify(where, agent)).toBe(verifies ? 200 : 401);
    }
  });

  it(
    "reads end within it, whatever ended the agent, also where only the expiry of the cache ends them",
    SLOW,
    async () => {
      await Promise.all(
        ENDS.map(async ([what, end]) => {
          const agent = await knownAgent();
          expect((await end(agent)).status).toBe(200);
          const ended = performance.now();
          await Promise.all(
            everywhere().map(async (where) => {
              // When the last read that passed was sent: slow answers do not count against the bound.
              let sent = performance.now();
              let last = ended;
              while ((await read(where, agent)) === 200) {
                last = sent;
                await wait(0.05);
                sent = performance.now();
              }
              expect({ what, inTime: last - ended <= BOUND * 1000 }).toEqual({ what, inTime: true });
              expect(await read(where, agent)).toBe(401);
            }),
          );
        }),
      );
    },
  );

  it("a narrowed permission is out of reach of writes at once, of reads within it", SLOW, async () => {
    const agent = await knownAgent();
    const set = (permissions: string[]) => byAdmin(`/agents/${agent.id}/permissions`, "PUT", { permissions });
    expect((await set(["lab:things:read"])).status).toBe(200);
    for (const where of everywhere()) expect(await write(where, agent)).toBe(403);
    await set(["lab:things:write"]);
    await wait(BOUND + 0.1);
    for (const where of everywhere()) expect([await read(where, agent), await write(where, agent)]).toEqual([403, 200]);
  });

  it("a session that ends because its refresh token was used again ends everywhere", async () => {
    const agent = await knownAgent();
    expect(await refresh(here, agent)).toBe(200);
    expect(await refresh(elsewhere, agent)).toBe(200);
    await wait(GRACE + 0.1);
    expect(await refresh(elsewhere, agent)).toBe(401);
    for (const where of everywhere()) {
      expect(await write(where, agent)).toBe(401);
      expect(await self(where, agent)).toBe(401);
    }
    expect(await verify(here, agent)).toBe(200);
  });
});
