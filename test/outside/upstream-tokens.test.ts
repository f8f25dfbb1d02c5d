// @module-tag slow
import { request as httpRequest } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startRecorder, type Recorder } from "./support/recorder.ts";
import { startWorker, type Agent, type Worker } from "./support/worker.ts";

/** A service whose token comes from its token endpoint, between real requests that share an isolate. */
let upstream: Recorder;
let worker: Worker;
let agent: Agent;
let life = 600;
let status = 200;
let issued = 0;

const asked = () => upstream.seen.filter(({ target }) => target === "/oauth/token").length;

beforeAll(async () => {
  upstream = await startRecorder((request, response) => {
    if (request.url !== "/oauth/token") {
      response.writeHead(request.headers.authorization === `Bearer issued-token-${issued}` ? 200 : 401).end("{}");
      return;
    }
    setTimeout(() => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(
        JSON.stringify({ access_token: `issued-token-${++issued}`, token_type: "bearer", expires_in: life }),
      );
    }, 200);
  });
  const crm = {
    base_url: upstream.url,
    credential: { scheme: "client_credentials", token_url: "/oauth/token" },
    resources: { leads: ["read"] },
    rules: ["GET /leads leads"],
  };
  worker = await startWorker({
    "UPSTREAMS.crm": JSON.stringify(crm),
    UPSTREAM_CRM_CLIENT_ID: "client-id",
    UPSTREAM_CRM_CLIENT_SECRET: "client-secret-of-the-company",
  });
  agent = await worker.agent(["crm:leads:read"]);
});
afterAll(async () => {
  upstream?.close();
  await worker?.stop();
});
beforeEach(() => void upstream.seen.splice(0));
/** Makes the token that the gateway has one that the upstream does not take any more. */
async function outdate(): Promise<void> {
  await call();
  issued++;
  upstream.seen.length = 0;
}

const call = () => worker.call("/proxy/crm/leads", { token: agent.token });

describe("an access token of an upstream", () => {
  it("is requested once for requests that come together, also if the one that began it is canceled", async () => {
    const given = httpRequest(`${worker.url}/proxy/crm/leads`, { headers: { authorization: `Bearer ${agent.token}` } });
    given.on("error", () => undefined).end();
    await expect.poll(asked).toBe(1);
    const others = Array.from({ length: 10 }, call);
    await new Promise((resolve) => setTimeout(resolve, 50));
    given.destroy();
    expect((await Promise.all(others)).map((one) => one.status)).toEqual(Array(10).fill(200));
    expect(asked()).toBe(1);
    expect((await call()).status).toBe(200);
    expect(asked()).toBe(1);
  });

  it("is requested again by the next request after the upstream refused it", async () => {
    await outdate();
    expect((await call()).status).toBe(401);
    expect((await call()).status).toBe(200);
    expect(asked()).toBe(1);
  });

  it("that cannot be had is 502, and neither answer nor log holds the client's secret", async () => {
    await outdate();
    expect((await call()).status).toBe(401);
    status = 400;
    const { status: got, body } = await call();
    expect(got).toBe(502);
    expect(body).toMatchObject({ code: "upstream_credential_failed", upstream: "crm" });
    await expect.poll(() => worker.log.join("")).toContain("the token endpoint answered 400");
    expect(worker.log.join("") + JSON.stringify(body)).not.toContain("client-secret-of-the-company");
    status = 200;
    life = 1;
    expect((await call()).status).toBe(200);
  });
});
