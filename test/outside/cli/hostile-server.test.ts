import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, beforeAll, expect, it } from "vitest";
import { run } from "../../../src/cli/run.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";

/** The command against something that is no AgentAuth. */
const TOKEN = "pcl_only-for-its-own-deployment";
let home: string;
let servers: Server[];
let urls: string[];
const arrived: (string | undefined)[] = [];

async function agentauth(args: readonly string[]) {
  const stderr = new PassThrough();
  const env = { HOME: home, AGENTAUTH_URL: urls[0] };
  const terminal = { stdout: stderr, stderr, env } as unknown as Terminal;
  const code = await run(args, terminal, { signal: new AbortController().signal, version: "0.0.0" });
  return { code, stderr: String(stderr.read()) };
}

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "agentauth-hostile-"));
  const redirecting = createServer((_, response) => {
    response.writeHead(307, { location: `${urls[1]}/elsewhere`, "content-type": "text/html" });
    response.end("<html>\u001b[2J");
  });
  const other = createServer(({ headers }, response) => {
    arrived.push(headers.authorization);
    response.end("{}");
  });
  servers = [redirecting, other];
  urls = [];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    urls.push(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  }
  const folder = join(home, ".config/agentauth");
  mkdirSync(folder, { recursive: true });
  const credential = { kind: "person", access_token: TOKEN, expires_at: Date.now() + 3_600_000 };
  const stored = { version: 1, current: urls[0], deployments: { [urls[0]!]: credential } };
  writeFileSync(join(folder, "credentials.json"), JSON.stringify(stored), { mode: 0o600 });
});
afterAll(() => {
  for (const server of servers) server.close();
  rmSync(home, { recursive: true, force: true });
});

it.each([["whoami"], ["agents list"], ["login"]])(
  "%s follows no redirect: no token reaches another host",
  async (line) => {
    const { code, stderr } = await agentauth(line.split(" "));
    expect([1, 9]).toContain(code);
    expect(stderr).toContain("Check --url or AGENTAUTH_URL");
    expect(stderr).not.toContain(TOKEN);
    // oxlint-disable-next-line no-control-regex
    expect(stderr).not.toMatch(/\u001b/);
    expect(arrived).toEqual([]);
  },
);

it("does not use a credentials file that is a link to another place", async () => {
  const folder = join(home, ".config/agentauth");
  const file = join(folder, "credentials.json");
  rmSync(file);
  writeFileSync(join(home, "elsewhere.json"), "{}", { mode: 0o600 });
  symlinkSync(join(home, "elsewhere.json"), file);
  const { code, stderr } = await agentauth(["whoami"]);
  expect([code, stderr]).toEqual([3, expect.stringContaining("is a link to another place. Remove it")]);
});
