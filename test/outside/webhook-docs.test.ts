import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { EVENTS } from "../../src/outbox/event.ts";
import { newWebhookSecret } from "../../src/webhooks/secret.ts";
import { signatureHeaders } from "../../src/webhooks/signature.ts";
import { readPage } from "./support/markdown.ts";
import { SLOW } from "../support/extents.ts";

const ROOT = join(import.meta.dirname, "../..");
const page = readPage("docs/webhooks.md");

const place = mkdtempSync(join(tmpdir(), "agentauth-docs-"));
symlinkSync(join(ROOT, "node_modules"), join(place, "node_modules"));
afterAll(() => rmSync(place, { recursive: true, force: true }));

const [secret, former] = [newWebhookSecret(), newWebhookSecret()];
const body = '{"id":"evt_1","event":"agent.revoked","data":{"naïve":"✓"}}';
const signed = (attempts: number, age = 0) =>
  signatureHeaders(
    { id: "msg_1", event: "agent.revoked", timestamp: Math.floor(Date.now() / 1000) - age, body },
    [secret, former],
    attempts,
  );

/** Runs a documented receiver over these deliveries; it prints what it made of each. */
function run(command: string, file: string, source: string, deliveries: unknown): unknown {
  writeFileSync(join(place, file), source);
  const env = { ...process.env, WEBHOOK_SECRET: secret, NODE_NO_WARNINGS: "1" };
  const input = JSON.stringify(deliveries);
  const { stdout, stderr } = spawnSync(command, [file], { cwd: place, env, input, encoding: "utf8" });
  return stdout ? JSON.parse(stdout) : stderr;
}

describe("docs/webhooks.md", () => {
  it("names every event", () => {
    const named = page.rows.flatMap(([first = ""]) => /^`(\w+\.\w+)`$/.exec(first)?.[1] ?? []);
    expect(named).toEqual([...EVENTS]);
  });

  it("has a receiver in TypeScript that takes what is signed, once", async () => {
    const good = await signed(1);
    const source = `${page.code("ts")}
import { readFileSync } from "node:fs";
const acted: unknown[] = [];
const deliveries = JSON.parse(readFileSync(0, "utf8")) as [Record<string, string>, string][];
const answers = deliveries.map(([headers, text]) => receive(headers, text, (event) => acted.push(event)));
console.log(JSON.stringify({ answers, acted }));`;
    const deliveries = [
      [good, body],
      [good, body],
      [good, `${body} `],
      [await signed(1, 301), body],
      [{}, body],
    ];
    expect(run(process.execPath, "receiver.mts", source, deliveries)).toEqual({
      answers: [200, 200, 401, 401, 401],
      acted: [JSON.parse(body)],
    });
  });

  it.skipIf(spawnSync("python3", ["--version"]).status !== 0)(
    "has receivers in Python that take what is signed, by either scheme",
    SLOW,
    async () => {
      const source = `${page.code("python")}
import sys
def outcome(check, headers, text):
    try:
        return check(headers, text.encode())["id"]
    except ValueError as error:
        return str(error)
print(json.dumps([[outcome(check, *one) for check in (verify, verify_older)] for one in json.load(sys.stdin)]))`;
      const good = await signed(1);
      const deliveries = [
        [good, body],
        [await signed(2), body],
        [good, `${body} `],
        [await signed(1, 301), body],
      ];
      const [no, old] = ["not signed with this secret", "too old, or ahead of this clock"];
      expect(run("python3", "receiver.py", source, deliveries)).toEqual([
        ["evt_1", "evt_1"],
        ["evt_1", no],
        [no, no],
        [old, "evt_1"],
      ]);
    },
  );
});
