import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { signInByDevice } from "../../../src/cli/device-grant.ts";
import { run } from "../../../src/cli/run.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";
import { SLOW } from "../../support/extents.ts";

/** The command against something that is no AgentAuth. */
const TOKEN = "pcl_only-for-its-own-deployment";
let home: string;
let servers: Server[];
const urls: Record<string, string> = {};
/** What reached the host that a redirect names. */
const arrived: (string | undefined)[] = [];

async function agentauth(args: readonly string[], url: string, timeout = 20_000) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const terminal = { stdout, stderr, env: { HOME: home, AGENTAUTH_URL: url } } as unknown as Terminal;
  const code = await run(args, terminal, { signal: new AbortController().signal, version: "0.0.0", timeout });
  return { code, said: `${String(stdout.read() ?? "")}${String(stderr.read() ?? "")}` };
}

const OTHERS: Record<string, RequestListener> = {
  redirecting: (_, response) => {
    const location = `${urls.target}/elsewhere?ticket=secret-of-that-place`;
    response.writeHead(307, { location, "content-type": "text/html" }).end("<html>\u001b[2J");
  },
  page: (_, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<h1>Welcome</h1>"),
  missing: (_, response) => void response.writeHead(404, { "content-type": "text/html" }).end("<h1>\u001b[2J</h1>"),
  broken: (_, response) => void response.writeHead(500, { "content-type": "text/html" }).end("<h1>Sorry</h1>"),
  json: (_, response) => void response.writeHead(200, { "content-type": "application/json" }).end('{"status":"ok"}'),
  silent: () => undefined,
  stalled: (_, response) => void response.writeHead(200, { "content-type": "application/json" }).write('{"'),
  target: ({ headers }, response) => {
    arrived.push(headers.authorization);
    response.end("{}");
  },
};

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "agentauth-hostile-"));
  // The waits between attempts are drawn: none here.
  vi.spyOn(Math, "random").mockReturnValue(0);
  servers = [];
  for (const [name, listener] of Object.entries(OTHERS)) {
    const server = createServer(listener);
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    urls[name] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  const folder = join(home, ".config/agentauth");
  mkdirSync(folder, { recursive: true });
  const credential = { kind: "person", access_token: TOKEN, expires_at: Date.now() + 3_600_000 };
  const deployments = Object.fromEntries(Object.values(urls).map((url) => [url, credential]));
  const stored = { version: 1, current: urls.page, deployments };
  writeFileSync(join(folder, "credentials.json"), JSON.stringify(stored), { mode: 0o600 });
});
afterAll(() => {
  vi.restoreAllMocks();
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(home, { recursive: true, force: true });
});

describe.each([
  "whoami",
  "agents list",
  "login",
  "doctor",
  "activity --export jsonl",
  "explain github GET /user",
  "whoami --json",
])("%s", (line) => {
  const options = line === "whoami" ? {} : SLOW;
  const ends = async (url: string, timeout?: number) => {
    const answer = await agentauth(line.split(" "), url, timeout);
    expect(answer.said).not.toContain(TOKEN);
    // oxlint-disable-next-line no-control-regex
    expect(answer.said).not.toMatch(/\u001b/);
    return answer;
  };
  // What is found is the result of doctor.
  const unreachable = line === "doctor" ? 1 : 9;

  it("follows no redirect, so that no token reaches another host, and says where it leads", async () => {
    const { code, said } = await ends(urls.redirecting!);
    expect(code).toBe(unreachable);
    expect(said).toMatch(new RegExp(`${urls.redirecting}/\\S+ answered 307 \\(text/html\\)`));
    expect(said).toContain(`it redirects to ${urls.target}/elsewhere`);
    expect(said).toContain("if the deployment has moved there, name its address there in --url or AGENTAUTH_URL");
    expect(said).not.toContain("secret-of-that-place");
    expect(arrived).toEqual([]);
  });

  it("says what has answered instead of AgentAuth, and what to do", options, async () => {
    for (const [name, status] of [
      ["page", 200],
      ["missing", 404],
    ] as const) {
      const { code, said } = await ends(urls[name]!);
      expect([name, code]).toEqual([name, unreachable]);
      expect(said).toMatch(
        new RegExp(`${urls[name]}/\\S+ answered ${status} \\(text/html\\), not as AgentAuth does\\. Check --url`),
      );
    }
    const { code, said } = await ends(urls.broken!);
    expect([code, said]).toEqual([1, expect.stringContaining("answered 500 (text/html), not AgentAuth itself")]);
    const other = await ends(urls.json!);
    expect(other.code).toBeGreaterThan(0);
    expect(other.said).toContain("Check --url");
  });

  it.each(["silent", "stalled"])("says that it waited long enough for one that is %s", options, async (name) => {
    if (name === "stalled" && line.startsWith("activity")) return;
    const { code, said } = await ends(urls[name]!, 100);
    expect(code).toBe(unreachable);
    expect(said).toContain(`${urls[name]} did not answer within 0.1 seconds. Check --url or AGENTAUTH_URL`);
  });
});

it("the shown code survives a network that is away for a moment, and polls less often meanwhile", async () => {
  const waits: number[] = [];
  let polls = 0;
  const server = createServer((request, response) => {
    const isPoll = request.url === "/oauth/token";
    if (isPoll && ++polls === 2) return void request.socket.destroy();
    if (isPoll && polls === 3) return void response.writeHead(502).end("<h1>Bad gateway</h1>");
    const begun = {
      device_code: "d",
      user_code: "BCDF-GHJK",
      verification_uri: "http://localhost/device",
      expires_in: 60,
    };
    const token = { access_token: "pcl_x", expires_in: 60 };
    response.statusCode = polls === 1 ? 400 : 200;
    response.end(JSON.stringify(!isPoll ? begun : polls === 1 ? { error: "authorization_pending" } : token));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const wait = async (ms: number): Promise<void> => void waits.push(ms);
  const { signal } = new AbortController();
  expect(await signInByDevice(url, () => undefined, { signal, timeout: 20_000, wait })).toMatchObject({
    access_token: "pcl_x",
  });
  expect(waits).toEqual([5000, 5000, 10_000, 20_000]);
  // One that stays away ends the command once the code has expired.
  polls = 1;
  server.removeAllListeners("request");
  server.on("request", ({ socket, url: path }, response) =>
    path === "/oauth/token"
      ? socket.destroy()
      : response.end(
          JSON.stringify({
            device_code: "d",
            user_code: "B",
            verification_uri: "http://localhost/device",
            expires_in: 60,
          }),
        ),
  );
  waits.length = 0;
  await expect(signInByDevice(url, () => undefined, { signal, timeout: 20_000, wait })).rejects.toMatchObject({
    code: "connection_failed",
  });
  expect(waits).toEqual([5000, 10_000, 20_000, 40_000]);
});

it("does not use a credentials file that is a link to another place", async () => {
  const folder = join(home, ".config/agentauth");
  const file = join(folder, "credentials.json");
  rmSync(file);
  writeFileSync(join(home, "elsewhere.json"), "{}", { mode: 0o600 });
  symlinkSync(join(home, "elsewhere.json"), file);
  const { code, said } = await agentauth(["whoami"], urls.page!);
  expect([code, said]).toEqual([3, expect.stringContaining("is a link to another place. Remove it")]);
});
