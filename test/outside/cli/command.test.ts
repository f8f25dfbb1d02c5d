// @module-tag slow
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildCommand } from "../../../scripts/build-command.ts";
import { keepCredential } from "../../../src/cli/credentials.ts";
import { run } from "../../../src/cli/run.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";
import { commandHashOf } from "../../../src/people/token.ts";
import { startRecorder, type Recorder } from "../support/recorder.ts";
import { startWorker, type Agent, type Worker } from "../support/worker.ts";

/** The command against a gateway that runs: as a process of its own, as it is published, where that matters. */
let home: string;
let program: string;
let worker: Worker;
/** What the services lead to, and what it answers. */
let upstream: Recorder;
let upstreamStatus = 200;
let admin: Agent;
let agent: Agent;
/** Every argument that a process was started with. */
const started: string[][] = [];

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Given {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

const environment = (env: Given["env"] = {}) => ({
  PATH: process.env.PATH,
  HOME: home,
  AGENTAUTH_URL: worker.url,
  ...env,
});

/** Starts a process of the built command. */
function start(args: readonly string[], { input = "", env }: Given = {}) {
  started.push([...args]);
  const child = spawn(process.execPath, [program, ...args], { env: environment(env) as unknown as NodeJS.ProcessEnv });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdin.end(input);
  const ended = new Promise<Ended>((resolve) => child.once("close", (code) => resolve({ code, stdout, stderr })));
  return { child, ended, output: () => stdout };
}

const inProcess = (args: readonly string[], given?: Given): Promise<Ended> => start(args, given).ended;

/** Runs a command here, which is what the process does: starting one for each would take most of the time. */
async function agentauth(args: readonly string[], { input = "", env }: Given = {}): Promise<Ended> {
  started.push([...args]);
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const terminal = { stdin: Readable.from([input]), stdout, stderr, env: environment(env) } as unknown as Terminal;
  const code = await run(args, terminal, { signal: new AbortController().signal, version: "0.0.0" });
  const text = (stream: PassThrough): string => (stream.read() as Buffer | null)?.toString() ?? "";
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** The JSON that a command prints, which must have succeeded. */
async function json(...args: string[]) {
  const { code, stdout, stderr } = await agentauth([...args, "--json"]);
  expect([code, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout);
}

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "agentauth-cli-"));
  program = join(home, "agentauth.mjs");
  await buildCommand(program);
  upstream = await startRecorder((_, response) => {
    response.writeHead(upstreamStatus, { "content-type": "application/json" }).end("{}");
  });
  const own = { base_url: upstream.url, resources: { things: ["read"] }, rules: ["GET /things/{id} things"] };
  worker = await startWorker({
    WEBHOOK_ALLOW_LOOPBACK: "true",
    "UPSTREAMS.github.base_url": upstream.url,
    "UPSTREAMS.my-shelf": JSON.stringify(own),
  });
  admin = await worker.admin();
  agent = await worker.agent(["github:issues:read"]);
});
afterAll(async () => {
  upstream?.close();
  await worker?.stop();
  rmSync(home, { recursive: true, force: true });
});

describe("signing in", () => {
  it("says what to do when nobody is signed in", async () => {
    for (const command of [["whoami"], ["agents", "list"], ["activity", "--follow"]]) {
      expect(await agentauth(command)).toEqual({
        code: 3,
        stdout: "",
        stderr: "agentauth: You are not signed in to this deployment. Run `agentauth login`.\n",
      });
    }
  });

  it("takes the key from standard input, and keeps it where only its user reads it", async () => {
    const wrong = await inProcess(["login", "--agent"], { input: `${admin.id}\n${agent.apiKey}\n` });
    expect([wrong.code, wrong.stderr.includes(agent.apiKey)]).toEqual([3, false]);
    const torn = await agentauth(["login", "--agent"], { input: `${admin.id}\n${admin.apiKey.slice(0, -1)}\n` });
    expect([torn.code, torn.stderr]).toEqual([3, expect.stringContaining("checksum")]);
    const good = await inProcess(["login", "--agent"], { input: `${admin.id}\n${admin.apiKey}\n` });
    expect(good).toEqual({ code: 0, stdout: expect.stringContaining(admin.id), stderr: "" });
    expect(good.stdout).not.toContain(admin.apiKey);
    const file = join(home, ".config/agentauth/credentials.json");
    expect([statSync(file).mode & 0o777, statSync(join(home, ".config/agentauth")).mode & 0o777]).toEqual([
      0o600, 0o700,
    ]);
    expect((await json("whoami")).agent.agent_id).toBe(admin.id);
  });

  it("opens no session with each command", async () => {
    const before = (await json("sessions", "list", admin.id)).sessions.length;
    await json("whoami");
    await json("agents", "list");
    expect((await json("sessions", "list", admin.id)).sessions).toHaveLength(before);
  });

  it("stays signed in when two commands renew the expired access token at the same time", async () => {
    const file = join(home, ".config/agentauth/credentials.json");
    const read = () => JSON.parse(readFileSync(file, "utf8"));
    const stored = read();
    stored.deployments[worker.url].expires_at = Date.now();
    writeFileSync(file, JSON.stringify(stored));
    const both = await Promise.all([inProcess(["whoami", "--json"]), inProcess(["agents", "list", "--json"])]);
    expect(both.map(({ code, stderr }) => [code, stderr])).toEqual([
      [0, ""],
      [0, ""],
    ]);
    const { access_token, api_key, expires_at } = read().deployments[worker.url];
    expect([api_key, expires_at > Date.now(), access_token === stored.deployments[worker.url].access_token]).toEqual([
      admin.apiKey,
      true,
      false,
    ]);
    const { sessions } = await json("sessions", "list", admin.id);
    expect(read().deployments[worker.url].access_token).toBe(access_token);
    expect(sessions.length).toBeGreaterThan(2);
  });

  it("does not use a file that others may read", async () => {
    const file = join(home, ".config/agentauth/credentials.json");
    chmodSync(file, 0o644);
    expect(await agentauth(["whoami"])).toEqual({ code: 3, stdout: "", stderr: expect.stringContaining("chmod 600") });
    chmodSync(file, 0o600);
  });

  it("refuses a key in an argument, and sends none over plain http", async () => {
    const inArgument = await agentauth(["login", "--agent", `ak_${"x".repeat(49)}`]);
    started.pop();
    expect([inArgument.code, inArgument.stderr]).toEqual([2, expect.stringContaining("Rotate it")]);
    const plain = await agentauth(["whoami", "--url", "http://auth.example.com"]);
    expect([plain.code, plain.stderr]).toEqual([2, expect.stringContaining("https")]);
  });

  it("is not signed in to another deployment with this one's key", async () => {
    const other = await agentauth(["whoami", "--url", worker.url.replace("127.0.0.1", "localhost")]);
    expect(other.code).toBe(3);
  });

  it("is the agent of the environment, if there is one", async () => {
    const env = { AGENTAUTH_AGENT_ID: agent.id, AGENTAUTH_API_KEY: agent.apiKey };
    const { code, stdout } = await agentauth(["whoami", "--json"], { env });
    expect([code, JSON.parse(stdout).agent.agent_id]).toEqual([0, agent.id]);
    const denied = await agentauth(["agents", "list"], { env });
    expect([denied.code, denied.stderr]).toEqual([4, expect.stringContaining("agentauth whoami")]);
    const itself = await agentauth(["agents", "show", agent.id, "--json"], { env });
    expect([itself.code, JSON.parse(itself.stdout).grants]).toEqual([0, undefined]);
  });
});

describe("the commands", () => {
  it("register, show, grant, suspend, approve, rotate and revoke", async () => {
    const { agent: made, credentials } = await json(
      ..."agents register --owner a@example.com --permission github:repos:read --name"
        .split(" ")
        .concat("From the shell"),
    );
    const id: string = made.agent_id;
    expect(credentials.api_key).toMatch(/^ak_/);

    const where = '{"path.owner":"octo"}';
    const inFull = '{"path.owner":{"eq":"octo"}}';
    const dry = await json("agents", "grant", id, "github:issues:read", "--where", where, "--dry-run");
    expect([dry.dry_run, dry.before.length, dry.after.length]).toEqual([true, 1, 2]);
    const granted = await agentauth(["agents", "grant", id, "github:issues:read", "--where", where]);
    expect([granted.code, granted.stdout]).toEqual([
      0,
      expect.stringContaining(`+ github:issues:read where ${inFull}`),
    ]);
    const taken = await agentauth(["agents", "grant", id, "github:repos:read", "--remove"]);
    expect([taken.code, taken.stdout]).toEqual([0, expect.stringContaining("- github:repos:read")]);
    expect((await json("agents", "show", id)).grants).toMatchObject([
      { permission: "github:issues:read", where: { "path.owner": { eq: "octo" } } },
    ]);
    const shown = await agentauth(["agents", "show", id]);
    expect(shown.stdout).toContain(`github:issues:read where ${inFull}`);

    expect((await json("agents", "suspend", id)).agent.status).toBe("suspended");
    const unasked = await agentauth(["agents", "approve", id]);
    expect([unasked.code, unasked.stderr]).toEqual([2, expect.stringContaining("--yes")]);
    expect((await json("agents", "approve", id, "--yes")).agent.status).toBe("active");

    const rotated = await json("agents", "rotate", id, "--overlap", "60");
    expect(rotated.credentials.api_key).not.toBe(credentials.api_key);
    expect((await json("agents", "list", "--search", "From the")).agents).toMatchObject([{ agent_id: id }]);
    const listed = await agentauth(["agents", "list", "--search", "From the"]);
    expect(listed.stdout.split("\n")[0]).toMatch(/^ID +NAME +OWNER +STATUS +TIER +PERMISSIONS +SINCE$/);

    expect((await agentauth(["agents", "revoke", id])).code).toBe(2);
    expect((await json("agents", "revoke", id, "--yes")).agent.status).toBe("revoked");
    const again = await agentauth(["agents", "approve", id, "--yes"]);
    expect([again.code, again.stderr]).toEqual([6, expect.stringMatching(/revoked/)]);
  });

  it("list, create and delete keys, and end sessions", async () => {
    const { credentials, key } = await json("keys", "create", agent.id, "--label", "spare", "--key-expires", "3600");
    expect(credentials.api_key).toMatch(/^ak_/);
    expect((await json("keys", "list", agent.id)).keys.map(({ id }: { id: string }) => id)).toContain(key.id);
    expect((await json("keys", "delete", agent.id, key.id, "--yes")).success).toBe(true);
    const { sessions } = await json("sessions", "list", agent.id);
    expect((await json("sessions", "end", agent.id, sessions[0].id)).success).toBe(true);
    expect((await json("sessions", "end", agent.id)).revoked_at).toBeTruthy();
    expect((await agentauth(["sessions", "end", agent.id, "ses_nope"])).code).toBe(5);
  });

  it("manage webhooks and their deliveries", async () => {
    const created = await json(
      "webhooks",
      "create",
      "http://127.0.0.1:9/hook",
      "agent.registered",
      "--description",
      "x",
    );
    const { id, secret } = created.webhook;
    expect(secret).toMatch(/^whsec_/);
    expect((await json("webhooks", "list")).webhooks).toMatchObject([{ id, secret: "***" }]);
    expect((await json("webhooks", "list", "--all")).webhooks).toHaveLength(1);
    expect((await json("webhooks", "show", id)).is_active).toBe(true);
    expect((await json("webhooks", "events")).events).toContain("agent.revoked");
    expect((await json("webhooks", "rotate-secret", id)).webhook.secret).not.toBe(secret);
    const { delivery } = await json("webhooks", "test", id);
    expect((await json("deliveries", "list", "--webhook", id)).deliveries).toMatchObject([{ id: delivery.id }]);
    expect((await json("deliveries", "list", "--event", "webhook.test")).deliveries).toHaveLength(1);
    expect(await json("--failed", "deliveries", "redeliver", "--since", "1m", "--dry-run")).toMatchObject({
      dry_run: true,
    });
    expect((await agentauth(["deliveries", "redeliver"])).code).toBe(2);
    expect((await agentauth(["deliveries", "redeliver", id, "dlv_nope"])).code).toBe(5);
    expect((await json("webhooks", "disable", id)).is_active).toBe(false);
    expect((await json("webhooks", "enable", id)).is_active).toBe(true);
    expect((await json("webhooks", "delete", id, "--yes")).success).toBe(true);
  });

  it("show each attempt of a delivery, and what the receiver answered as text", async () => {
    const receiver = createServer((request, response) => {
      request.resume().on("end", () => response.writeHead(500).end("\u001b[2Jno\u202e\nway"));
    });
    await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
    try {
      const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
      const { id } = (await json("webhooks", "create", url, "agent.registered")).webhook;
      const { delivery } = await json("webhooks", "test", id);
      let shown = await json("deliveries", "show", id, delivery.id);
      while (shown.attempts.length === 0) shown = await json("deliveries", "show", id, delivery.id);
      expect(JSON.parse(shown.request_body).event).toBe("webhook.test");
      expect(shown.attempts).toMatchObject([{ number: 1, response_status: 500, error: null }]);
      const { code, stdout } = await agentauth(["deliveries", "show", id, delivery.id]);
      expect([code, stdout]).toEqual([0, expect.stringContaining(" 500     \\u{1b}[2Jno\\u{202e}\\nway")]);
      expect((await agentauth(["deliveries", "show", id, "msg_nope"])).code).toBe(5);
      await json("webhooks", "delete", id, "--yes");
    } finally {
      receiver.close();
    }
  });

  it("explain a request, and say by the exit code whether it is allowed", async () => {
    const request = ["explain", "github", "get", "/repos/octo/hello/issues/5"];
    const denied = await agentauth([...request, "--json"]);
    expect([denied.code, JSON.parse(denied.stdout).lacking]).toEqual([4, ["github:issues:read"]]);
    const allowed = await agentauth([...request, "--permission", "github:issues:read"]);
    expect([allowed.code, allowed.stdout]).toEqual([0, expect.stringMatching(/^decision +allow$/m)]);
  });

  it("show the log, export it into a file that is not there yet, and follow it", async () => {
    await worker.activity(admin, (message) => message === "registered");
    const { records } = await json("activity", "--since", "1h", "--limit", "5");
    expect(records.length).toBeGreaterThan(0);
    const file = join(home, "log.jsonl");
    const exported = await agentauth(["activity", "--export", "jsonl", "--output", file]);
    expect([exported.code, exported.stderr]).toEqual([0, expect.stringContaining("bytes are written")]);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(file, "utf8").trim().split("\n").at(-1)!)).toHaveProperty("end");
    const again = await agentauth(["activity", "--export", "jsonl", "--output", file]);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining("exists already")]);

    const other = join(home, "none.jsonl");
    const env = { AGENTAUTH_AGENT_ID: agent.id, AGENTAUTH_API_KEY: agent.apiKey };
    const refused = await agentauth(["activity", "--export", "jsonl", "--output", other], { env });
    expect([refused.code, existsSync(other)]).toEqual([4, false]);

    const following = start(["activity", "--follow", "--json"]);
    while (!following.output().includes("\n"))
      await new Promise((resolve) => following.child.stdout.once("data", resolve));
    following.child.kill("SIGINT");
    const { code, stdout } = await following.ended;
    expect(code).toBe(130);
    const ids = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("look for faults", async () => {
    const { findings } = await json("doctor");
    expect(findings.map(({ name }: { name: string }) => name)).toEqual(
      expect.arrayContaining(["deployment", "issuer", "clock", "database"]),
    );
    expect(findings.map(({ name }: { name: string }) => name)).toEqual(
      expect.arrayContaining(["migrations", "deliveries", "dead letters", "settings", "credentials"]),
    );
    const pepper = findings.find(({ name }: { name: string }) => name.startsWith("pepper "));
    expect(pepper.message).toMatch(/^[1-9]\d* API keys? and \d+ sessions? bear it\.$/);
    const unset = createServer((_, response) => {
      const details = [{ message: "SIGNING_KEYS is not set.\u001b[2J" }, { message: "The binding DB is missing." }];
      response.writeHead(503, { "content-type": "application/json" });
      response.end(JSON.stringify({ error: "x", code: "misconfigured", details }));
    });
    await new Promise<void>((resolve) => unset.listen(0, "127.0.0.1", resolve));
    const address = `http://127.0.0.1:${(unset.address() as AddressInfo).port}`;
    const { code, stdout } = await agentauth(["doctor", "--url", address]);
    unset.close();
    expect([code, stdout]).toEqual([
      1,
      expect.stringMatching(/SIGNING_KEYS is not set\.\\u\{1b\}[\s\S]+DB is missing/),
    ]);
    expect(stdout).toContain("2 faults, 0 warnings");
    const nowhere = await agentauth(["doctor", "--url", "http://127.0.0.1:9"]);
    expect([nowhere.code, nowhere.stdout]).toEqual([1, expect.stringContaining("AGENTAUTH_URL")]);
  });

  it("say whom the rest is for to somebody who is signed in and may not see it, and keep what was found", async () => {
    type Finding = { name: string; state: string; message: string };
    /** What `doctor` finds for a person of this role, who has let the command in. */
    const look = async (role: "owner" | "auditor", ...more: string[]) => {
      const [token, now] = [`pcl_${role.padEnd(43, "x")}`, Date.now()];
      await worker.sql(
        "INSERT OR IGNORE INTO people (id, email, name, role, status, created_by, created_at) VALUES (?1, ?1, ?2, ?2, 'active', '{}', 1)",
        `per_${role}`,
        role,
      );
      await worker.sql(
        `INSERT OR IGNORE INTO person_sessions (id, person_id, hash, method, auth_time, created_at, last_used_at, expires_at, ip_address,
          user_agent, client_id) VALUES (?1, ?1, ?2, 'passkey', ?3, ?3, ?3, ?3 + 3600000, '', '', 'agentauth-cli')`,
        `per_${role}`,
        await commandHashOf(token),
        now,
      );
      const env = { HOME: join(home, role) };
      await keepCredential(env, worker.url, { kind: "person", access_token: token, expires_at: now + 3_600_000 });
      const { code, stdout, stderr } = await agentauth(["doctor", ...more, "--json"], { env });
      expect([code, stderr]).toEqual([0, ""]);
      const { findings, ...rest } = JSON.parse(stdout) as { findings: Finding[]; warnings: number; faults: number };
      return { ...rest, env, of: (name: string) => findings.find((one) => one.name === name), findings };
    };
    const owner = await look("owner");
    expect(owner).toMatchObject({ faults: 0, warnings: 0 });
    expect(owner.findings.map(({ name, state }) => [name, state])).toEqual([
      ["deployment", "ok"],
      ["issuer", "ok"],
      ["clock", "ok"],
      ["details", "skipped"],
    ]);
    expect(owner.of("details")?.message).toMatch(/for administrators and auditors\. You are signed in, and neither/);
    const shown = await agentauth(["doctor"], { env: owner.env });
    expect([shown.code, shown.stdout]).toEqual([
      0,
      expect.stringContaining("Everything that was looked at is in order."),
    ]);
    expect(shown.stdout).not.toMatch(/sign in|agentauth login/i);

    const env = { AGENTAUTH_AGENT_ID: agent.id, AGENTAUTH_API_KEY: agent.apiKey };
    const ofAgent = await agentauth(["doctor"], { env });
    expect([ofAgent.code, ofAgent.stdout]).toEqual([0, expect.stringMatching(/^details +skipped +/m)]);

    // An auditor reads everything; a request with a credential is an administrator's.
    const before = upstream.seen.length;
    const auditor = await look("auditor", "--check");
    expect([auditor.of("database")?.state, auditor.of("settings"), auditor.of("details")]).toEqual([
      "ok",
      expect.anything(),
      undefined,
    ]);
    expect([auditor.of("credentials"), auditor.of("service github")]).toEqual([
      { name: "credentials", state: "skipped", message: expect.stringContaining("Only administrators may try") },
      undefined,
    ]);
    expect(upstream.seen).toHaveLength(before);
  });

  it("try the credential of each service, and name the services that have none", async () => {
    type Finding = { name: string; state: string; message: string };
    const look = async (...more: string[]) => {
      const { code, stdout, stderr } = await agentauth(["doctor", ...more, "--json"]);
      expect(stderr).toBe("");
      const { findings } = JSON.parse(stdout) as { findings: Finding[] };
      return { code, of: (name: string) => findings.find((one) => one.name === name) };
    };
    const before = upstream.seen.length;
    const unchecked = await look();
    expect(unchecked.of("service my-shelf")).toEqual({
      name: "service my-shelf",
      state: "warning",
      message: "No secret of it is set: requests go nowhere. npx wrangler secret put UPSTREAM_MY_SHELF_TOKEN.",
    });
    expect(unchecked.of("credentials")?.message).toContain("Set for github");
    expect(unchecked.of("service github")).toBeUndefined();
    expect(upstream.seen).toHaveLength(before);

    const works = await look("--check");
    expect([works.code, works.of("service github")?.state]).toEqual([0, "ok"]);
    expect(works.of("service my-shelf")?.state).toBe("warning");
    const sent = upstream.seen.slice(before);
    expect(sent.map(({ method, target }) => [method, target])).toEqual([["GET", "/rate_limit"]]);
    upstreamStatus = 401;
    const refused = await look("--check");
    expect([refused.code, refused.of("service github")]).toEqual([
      1,
      {
        name: "service github",
        state: "fault",
        message: expect.stringMatching(/refuses the credential.+UPSTREAM_GITHUB_/),
      },
    ]);
    upstreamStatus = 500;
    const unclear = await look("--check");
    expect([unclear.code, unclear.of("service github")?.state]).toEqual([0, "warning"]);
    upstreamStatus = 200;
  });

  it("import an export once, however often it is run, and keep the keys in a file of its user", async () => {
    const file = join(home, "agents.csv");
    const results = `${file}.imported.jsonl`;
    const rows = [1, 2, 3].map(
      (n) => `old-${n},Imported ${n},a@example.com,"{github:repos:read}",${n === 3 ? "suspended" : "active"},pro`,
    );
    writeFileSync(
      file,
      `id,name,owner_email,permissions,status,tier\n${rows.join("\n")}\nold-4,Imported 4,a@example.com,"{nope:x:read}",active,free\n`,
    );
    const faulty = await agentauth(["import", file, "--yes"]);
    expect([faulty.code, faulty.stdout]).toEqual([7, expect.stringContaining("row 4: nope:x:read")]);
    writeFileSync(file, `id,name,owner_email,permissions,status,tier\n${rows.join("\n")}\n`);
    expect(await json("import", file, "--dry-run")).toMatchObject({ dry_run: true, to_import: 3 });
    expect((await agentauth(["import", file])).code).toBe(2);
    const first = await agentauth(["import", file, "--yes", "--json"]);
    expect(JSON.parse(first.stdout)).toMatchObject({ imported: 3, without_key: 0 });
    expect(statSync(results).mode & 0o777).toBe(0o600);
    const lines = readFileSync(results, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.map(({ source, api_key }) => [source, api_key.startsWith("ak_")])).toEqual(
      [1, 2, 3].map((n) => [`old-${n}`, true]),
    );
    // A run that was killed before it wrote its last line, and while it wrote the one before.
    writeFileSync(results, `${JSON.stringify(lines[0])}\n${JSON.stringify(lines[1]).slice(0, 30)}`);
    const second = await agentauth(["import", file, "--yes", "--json"]);
    expect(JSON.parse(second.stdout)).toMatchObject({ imported_before: 1, imported: 2, without_key: 0 });
    const third = await agentauth(["import", file]);
    expect([third.code, third.stdout]).toEqual([
      0,
      expect.stringMatching(/^All 3 agents were imported before: there is nothing/),
    ]);
    const { agents } = await json("agents", "list", "--search", "Imported");
    expect(agents.map(({ name, status, tier }: Record<string, string>) => [name, status, tier]).toSorted()).toEqual([
      ["Imported 1", "active", "pro"],
      ["Imported 2", "active", "pro"],
      ["Imported 3", "suspended", "pro"],
    ]);
  });

  it("complete in bash", async () => {
    const { stdout } = await agentauth(["completion", "bash"]);
    const script = `${stdout}\nCOMP_WORDS=(agentauth agents --limit 5 "s"); COMP_CWORD=4; _agentauth; echo "\${COMPREPLY[@]}"\nCOMP_WORDS=(agentauth activity --export ""); COMP_CWORD=3; _agentauth; echo "\${COMPREPLY[@]}"`;
    const bash = spawn("bash", ["--norc"], { stdio: ["pipe", "pipe", "inherit"] });
    let completed = "";
    bash.stdout.setEncoding("utf8").on("data", (text: string) => (completed += text));
    bash.stdin.end(script);
    await new Promise((resolve) => bash.once("close", resolve));
    expect(completed.trim().split("\n")).toEqual(["show suspend", "jsonl csv"]);
    expect((await agentauth(["completion", "fish"])).code).toBe(2);
  });

  it("end in a sentence, with an exit code of their own", async () => {
    for (const [args, code] of [
      [["nonsense"], 2],
      [["agents", "show"], 2],
      [["agents", "list", "--follow"], 2],
      [["agents", "list", "--status", "gone"], 2],
      [["agents", "show", "agt_unknown"], 5],
      [["agents", "register", "--name", "x", "--owner", "nobody"], 7],
      [["whoami", "--url", "http://127.0.0.1:9"], 3],
    ] as const) {
      const { code: ended, stdout, stderr } = await agentauth(args);
      expect([args, ended, stdout]).toEqual([args, code, ""]);
      expect(stderr).toMatch(/^agentauth: [\s\S]+[.)\w]\n/);
      expect(stderr).not.toMatch(/ {4}at /);
    }
    const { stderr } = await agentauth(["agents", "show", "agt_unknown", "--json"]);
    expect(JSON.parse(stderr)).toMatchObject({ error: "not_found", exit: 5, status: 404 });
    expect((await agentauth(["help"])).code).toBe(0);
    expect((await agentauth(["agents", "--help"])).stdout).toContain("agents rotate AGENT_ID");
    expect((await agentauth(["help", "import"])).stdout).toContain("--dry-run");
    expect((await inProcess(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it("had no secret among the arguments of any process, and sign out", async () => {
    const secrets = [admin.apiKey, agent.apiKey, admin.token, agent.token];
    expect(started.flat().filter((argument) => secrets.some((secret) => argument.includes(secret)))).toEqual([]);
    expect(await json("logout")).toEqual({ signed_out: true, session_ended: true });
    expect((await agentauth(["whoami"])).code).toBe(3);
    expect(readFileSync(join(home, ".config/agentauth/credentials.json"), "utf8")).not.toContain(admin.apiKey);
  });
});
