// @module-tag slow
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startWorker } from "./support/worker.ts";
import { SLOW } from "../support/extents.ts";

it("a Worker that is killed while a write is under way has recorded that it was sent", SLOW, async () => {
  const arrived = Promise.withResolvers<void>();
  // It never answers.
  const upstream = createServer(() => arrived.resolve());
  upstream.listen(0, "127.0.0.1");
  await once(upstream, "listening");
  const { port } = upstream.address() as AddressInfo;
  const stateDir = mkdtempSync(join(tmpdir(), "agentauth-killed-"));
  const settings = {
    "UPSTREAMS.lab": JSON.stringify({
      base_url: `http://127.0.0.1:${port}`,
      credential: { scheme: "none" },
      resources: { things: ["read", "write"] },
      rules: ["* /things/{id} things"],
    }),
  };
  let worker = await startWorker(settings, { stateDir });
  try {
    const agent = await worker.agent(["lab:things:write"]);
    const path = "/proxy/lab/things/1";
    const answering = worker.call(path, { method: "PUT", token: agent.token, json: { a: 1 } }).catch(() => undefined);
    await arrived.promise;
    worker.kill();
    await worker.stop().catch(() => undefined);
    await answering;
    worker = await startWorker(settings, { stateDir });
    const [intent, ...rest] = await worker.sql(
      "SELECT part, entry FROM audit_outbox WHERE agent_id = ? AND entry ->> 'action' = 'gateway.call'",
      agent.id,
    );
    expect([intent?.part, rest]).toEqual(["intent", []]);
    expect(JSON.parse(String(intent!.entry))).toMatchObject({ method: "PUT", path: "/things/1", bytesIn: 7 });
    // Once nobody can send its end any more, the log says that nobody knows how it ended.
    await worker.sql("UPDATE audit_outbox SET ready_at = 0 WHERE part = 'intent'");
    await worker.runJobs();
    expect(await worker.activity(agent, (message) => message === "lab PUT /things/1 → not known")).toBeTruthy();
    const [row] = await worker.auditSql(
      "SELECT part, outcome FROM records WHERE agent_id = ? AND method = 'PUT'",
      agent.id,
    );
    expect(row).toEqual({ part: 0, outcome: "unknown" });
  } finally {
    await worker.stop().catch(() => undefined);
    rmSync(stateDir, { recursive: true, force: true });
    upstream.closeAllConnections();
    upstream.close();
  }
});
