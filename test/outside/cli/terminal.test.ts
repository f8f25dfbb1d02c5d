// @module-tag slow
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { buildCommand } from "../../../scripts/build-command.ts";
import { firstAdministrator, invite, type SignedInPerson } from "../../support/people.ts";
import { testSecrets } from "../../support/secrets.ts";
import { startWorker, type Agent, type Worker } from "../support/worker.ts";

/** The built command on a pseudo terminal, as somebody who sits at one sees it. Python makes the terminal: Node cannot. */
const ON_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
const hasTerminal = spawnSync("python3", ["-c", "import pty"]).status === 0;
if (!hasTerminal) console.warn("SKIPPED: the command on a terminal. There is no python3 with pty here.");

let home: string;
let program: string;
let worker: Worker;
let agent: Agent;
let admin: Agent;
let deployment: Parameters<typeof firstAdministrator>[0];
let administrator: SignedInPerson;
/** The terminal reads lines, shows what is typed, and turns Ctrl-C into a signal, as `stty -a` says it. */
const COOKED = /(?<!-)\bisig icanon [\s\S]* echo /;
/** Everything that was on the screens. */
const screens: string[] = [];

interface Screen {
  /** Waits until the screen shows this after what was waited for before, and returns it. */
  shows(text: RegExp): Promise<RegExpExecArray>;
  type(text: string): void;
  /** All that was shown, with the exit code of the command and the terminal's settings after it. */
  ended: Promise<{ shown: string; code: number; settings: string }>;
}

/** Starts the command on a terminal of its own. */
function sitDown(
  args: readonly string[],
  { user = "me", env = {} }: { user?: string; env?: Record<string, string> } = {},
): Screen {
  // The shell has the same Ctrl-C, and outlives it.
  const shell = `trap : INT; "$@"; echo "ended with $?"; stty -a`;
  const child = spawn("python3", ["-c", ON_TERMINAL, "sh", "-c", shell, "sh", process.execPath, program, ...args], {
    env: {
      PATH: process.env.PATH,
      HOME: join(home, user),
      AGENTAUTH_URL: worker.url,
      TERM: "xterm",
      ...env,
    } as unknown as NodeJS.ProcessEnv,
  });
  // The terminal hangs up, and the command with it.
  onTestFinished(() => void child.kill());
  let shown = "";
  let seen = 0;
  let look = (): void => undefined;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    shown += text;
    look();
  });
  const ended = new Promise<{ shown: string; code: number; settings: string }>((resolve) =>
    child.once("close", () => {
      look();
      screens.push(shown);
      const [before = "", code, settings = ""] = shown.split(/ended with (\d+)\r?\n/);
      resolve({ shown: before, code: Number(code), settings });
    }),
  );
  return {
    shows: (text) =>
      new Promise((resolve, reject) => {
        look = () => {
          const found = new RegExp(text).exec(shown.slice(seen));
          if (found) {
            look = () => undefined;
            seen += found.index + found[0].length;
            resolve(found);
          } else if (child.exitCode !== null) reject(new Error(`the command ended without ${text}:\n${shown}`));
        };
        look();
      }),
    type: (text) => void child.stdin.write(text),
    ended,
  };
}

const credentials = (user: string): string => join(home, user, ".config/agentauth/credentials.json");

beforeAll(async () => {
  if (!hasTerminal) return;
  home = mkdtempSync(join(tmpdir(), "agentauth-terminal-"));
  program = join(home, "agentauth.mjs");
  await buildCommand(program);
  worker = await startWorker({ ISSUER: "https://auth.example.com", BOOTSTRAP: "keep" });
  agent = await worker.agent(["github:issues:read"]);
  admin = await worker.admin();
  deployment = { call: worker.call, env: testSecrets };
  administrator = await firstAdministrator(deployment);
});
afterAll(async () => {
  await worker?.stop();
  if (home) rmSync(home, { recursive: true, force: true });
});

// No screen has shown a key.
afterEach(() => {
  expect(screens.filter((shown) => shown.includes(agent.apiKey) || shown.includes(agent.apiKey.slice(3, 20)))).toEqual(
    [],
  );
});

describe.skipIf(!hasTerminal)("the prompt for a key", () => {
  it("does not show the key, takes corrections, and keeps it where only its user reads it", async () => {
    const screen = sitDown(["login", "--agent"]);
    await screen.shows(/Agent id: /);
    screen.type(`${agent.id}x\u007f\r`);
    await screen.shows(/not shown\): /);
    screen.type(`${agent.apiKey}x\u007f\r`);
    const { code, shown, settings } = await screen.ended;
    expect([code, shown]).toEqual([0, expect.stringContaining(`Signed in to ${worker.url} as outside (${agent.id})`)]);
    expect(shown.split("not shown): ")[1]).toMatch(/^\r\nSigned in/);
    expect(settings).toMatch(COOKED);
    expect(statSync(credentials("me")).mode & 0o777).toBe(0o600);
  });

  it("does not show a key that is pasted together with the id", async () => {
    const screen = sitDown(["login", "--agent"], { user: "paster" });
    await screen.shows(/Agent id: /);
    screen.type(`${agent.id}\r${agent.apiKey}\r`);
    expect(await screen.ended).toMatchObject({ code: 0, shown: expect.stringContaining("Signed in") });
  });

  it.each(["at the id", "at the key"])("gives the terminal back after Ctrl-C %s", async (where) => {
    const screen = sitDown(["login", "--agent"], { user: "leaver" });
    await screen.shows(/Agent id: /);
    if (where === "at the key") {
      screen.type(`${agent.id}\r`);
      await screen.shows(/not shown\): /);
      screen.type(agent.apiKey.slice(0, 20));
    }
    screen.type("\u0003");
    const { code, shown, settings } = await screen.ended;
    expect([code, shown]).toEqual([130, expect.stringContaining("agentauth: Interrupted.")]);
    expect(shown).not.toMatch(/Warning|\n\s+at /);
    expect(settings).toMatch(COOKED);
  });

  it("says what to do about a key that is torn, and one that is somebody else's", async () => {
    const other = await worker.agent(["github:issues:read"]);
    for (const [key, advice] of [
      [agent.apiKey.slice(0, -1), "Copy the key again, whole"],
      [other.apiKey, "agentauth login"],
    ] as const) {
      const screen = sitDown(["login", "--agent"], { user: "wrong" });
      await screen.shows(/Agent id: /);
      screen.type(`${agent.id}\r`);
      await screen.shows(/not shown\): /);
      screen.type(`${key}\r`);
      const { code, shown } = await screen.ended;
      expect([code, shown.replace(/\s+/g, " ")]).toEqual([3, expect.stringContaining(advice)]);
    }
  });

  it("asks before what cannot be undone, and does nothing after Ctrl-C, Ctrl-D or another name", async () => {
    const env = { AGENTAUTH_AGENT_ID: admin.id, AGENTAUTH_API_KEY: admin.apiKey };
    for (const [typed, ends] of [
      ["\u0003", 130],
      ["\u0004", 1],
      ["another\r", 1],
      ["\r", 1],
      ["outsid\u001b[De\r", 0],
    ] as const) {
      const screen = sitDown(["agents", "revoke", agent.id], { env });
      await screen.shows(/Type outside to go on: /);
      screen.type(typed);
      const { code, shown, settings } = await screen.ended;
      expect([typed, code]).toEqual([typed, ends]);
      if (ends !== 0) expect(shown).toMatch(/agentauth: (?:Interrupted|Cancelled: nothing was changed)\./);
      expect(settings).toMatch(COOKED);
    }
    const { code, shown } = await sitDown(["whoami"]).ended;
    expect([code, shown]).toEqual([3, expect.stringContaining("agentauth login")]);
  });

  it("approves what it has shown: not an agent that is changed before the answer", async () => {
    const env = { AGENTAUTH_AGENT_ID: admin.id, AGENTAUTH_API_KEY: admin.apiKey };
    const waiting = await worker.agent(["github:issues:read"]);
    const set = (path: string, json: object) =>
      worker.call(`/agents/${waiting.id}/${path}`, { method: "PUT", token: admin.token, json });
    expect((await set("status", { status: "inactive" })).status).toBe(200);
    for (const [changes, ends, status] of [
      [true, 6, "inactive"],
      [false, 0, "active"],
    ] as const) {
      const screen = sitDown(["agents", "approve", waiting.id], { env });
      await screen.shows(/permissions +github:issues:read\s/);
      await screen.shows(/active\? \[y\/N\] /);
      if (changes) expect((await set("permissions", { permissions: ["github:repos:write"] })).status).toBe(200);
      screen.type("y\r");
      const { code, shown } = await screen.ended;
      expect([code, shown]).toEqual([ends, expect.stringContaining(changes ? "was changed since" : "is active")]);
      const read = await worker.call(`/agents/${waiting.id}`, { token: admin.token });
      expect(read.body.agent.status).toBe(status);
      await set("permissions", { permissions: ["github:issues:read"] });
    }
  });
});

describe.skipIf(!hasTerminal)("signing in as a person", () => {
  /** Types the code that a screen shows into the page, as the console does. */
  async function read(screen: Screen, person: SignedInPerson): Promise<string> {
    await screen.shows(/Open https:\/\/auth\.example\.com\/device in a browser/);
    const [, user_code = ""] = await screen.shows(/type the code ([A-Z]{4}-[A-Z]{4})/);
    expect((await person.call("/sign-in/device", { method: "POST", json: { user_code } })).status).toBe(200);
    return user_code;
  }
  const decide = (person: SignedInPerson, user_code: string, decision: string) =>
    person.confirmed("/sign-in/device/decide", { method: "POST", json: { user_code, decision } });

  it("shows an address and a code, and goes on when they approve it with their passkey", async () => {
    const screen = sitDown(["login"], { user: "person" });
    expect((await decide(administrator, await read(screen, administrator), "approved")).status).toBe(200);
    const { code, shown, settings } = await screen.ended;
    expect([code, shown]).toEqual([
      0,
      expect.stringContaining(`Signed in to ${worker.url} as First (first@example.com)`),
    ]);
    expect(settings).toMatch(COOKED);
    expect(statSync(credentials("person")).mode & 0o777).toBe(0o600);
    const { access_token } = Object.values(
      JSON.parse(readFileSync(credentials("person"), "utf8")).deployments as Record<string, { access_token: string }>,
    )[0]!;
    expect(access_token).toMatch(/^pcl_/);

    const who = await sitDown(["whoami"], { user: "person" }).ended;
    expect([who.code, who.shown]).toEqual([0, expect.stringMatching(/person +First\r\nemail +first@example\.com/)]);
    const out = await sitDown(["logout"], { user: "person" }).ended;
    expect([out.code, out.shown]).toEqual([0, expect.stringContaining("Signed out of")]);
    expect((await worker.call("/people/me", { token: access_token })).status).toBe(401);
    expect(screens.join("")).not.toContain(access_token);
  });

  it("ends with what to do if they decline, the code expires or the person is suspended, and after Ctrl-C", async () => {
    const owners = [await invite(deployment, administrator, "owner"), await invite(deployment, administrator, "owner")];
    const [early, late] = owners as [SignedInPerson, SignedInPerson];
    const suspend = async ({ id }: SignedInPerson): Promise<void> => {
      const answer = await administrator.confirmed(`/people/${id}`, { method: "PATCH", json: { status: "suspended" } });
      expect(answer.status).toBe(200);
    };
    const expired = sitDown(["login"], { user: "expired" });
    await read(expired, administrator);
    await worker.sql("UPDATE device_codes SET expires_at = 1");
    const signIn = async (user: string, person: SignedInPerson) => {
      const screen = sitDown(["login"], { user });
      return { screen, code: await read(screen, person) };
    };
    const [declined, left, stopped, signedIn] = [
      await signIn("declined", administrator),
      await signIn("left", administrator),
      await signIn("stopped", early),
      await signIn("signed-in", late),
    ];
    left.screen.type("\u0003");
    await decide(administrator, declined.code, "denied");
    await decide(late, signedIn.code, "approved");
    await decide(early, stopped.code, "approved");
    await suspend(early);
    const ends = async ({ ended }: Screen): Promise<[number, string]> => {
      const { code, shown, settings } = await ended;
      expect(settings).toMatch(COOKED);
      return [code, shown.slice(shown.lastIndexOf("agentauth: ")).trim()];
    };
    expect(await ends(left.screen)).toEqual([130, "agentauth: Interrupted."]);
    expect(await ends(expired)).toEqual([
      3,
      expect.stringMatching(/The code has expired.+Run `agentauth login` again\.$/),
    ]);
    expect(await ends(declined.screen)).toEqual([4, expect.stringMatching(/It was declined.+`agentauth login` again/)]);
    expect(await ends(stopped.screen)).toEqual([
      4,
      expect.stringMatching(/may not be signed in.+`agentauth login` again/),
    ]);
    expect((await signedIn.screen.ended).code).toBe(0);
    await suspend(late);
    const after = await sitDown(["whoami"], { user: "signed-in" }).ended;
    expect([after.code, after.shown]).toEqual([3, expect.stringContaining("Sign in again with `agentauth login`.")]);
    for (const user of ["expired", "declined", "left", "stopped"]) expect(existsSync(credentials(user))).toBe(false);
  });
});
