// @module-tag slow
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { freePort } from "./support/free-port.ts";

const ROOT = join(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "agentauth-clone-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("npm start in a clone without packages, or with those of a former version, says that `npm ci` comes first", () => {
  mkdirSync(join(folder, "scripts"));
  copyFileSync(join(ROOT, "package.json"), join(folder, "package.json"));
  for (const name of ["installed.js", "start.ts"])
    copyFileSync(join(ROOT, "scripts", name), join(folder, "scripts", name));
  const { status, stderr } = spawnSync("npm", ["start"], { cwd: folder, encoding: "utf8" });
  expect([status, stderr]).toEqual([1, expect.stringContaining("Run `npm ci` first, and then `npm start`.")]);
  expect(stderr).not.toContain("at ");

  mkdirSync(join(folder, "node_modules/.bin"), { recursive: true });
  writeFileSync(join(folder, "node_modules/.bin/wrangler"), "");
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const install = (name: string, version: string) => {
    mkdirSync(join(folder, "node_modules", name), { recursive: true });
    writeFileSync(join(folder, "node_modules", name, "package.json"), JSON.stringify({ version }));
  };
  for (const [name, wanted] of Object.entries<string>({ ...dependencies, ...devDependencies })) {
    install(name, wanted.split("@").at(-1)!);
  }
  const look = () => spawnSync("node", ["scripts/installed.js"], { cwd: folder, encoding: "utf8" });
  expect(look()).toMatchObject({ status: 0, stderr: "" });

  // After an update of the clone.
  install("hono", "0.0.1");
  rmSync(join(folder, "node_modules/preact"), { recursive: true });
  expect(look()).toMatchObject({
    status: 1,
    stderr: "\npackage.json has changed since the packages were installed: hono, preact. Run `npm ci` again.\n\n",
  });
});

/** A copy of what is in the repository, with the packages that are installed here. */
function cloneHere(name: string): string {
  const clone = join(folder, name);
  const { stdout } = spawnSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: ROOT,
    encoding: "utf8",
  });
  for (const file of stdout
    .split("\0")
    .filter((path) => /^(?:src|scripts|migrations|public|upstreams|[^/]+$)/.test(path))) {
    cpSync(join(ROOT, file), join(clone, file));
  }
  symlinkSync(join(ROOT, "node_modules"), join(clone, "node_modules"));
  return clone;
}

it("npm start names a folder that it cannot keep its state in", async () => {
  const { status, stderr } = spawnSync("node", ["scripts/start.ts"], {
    cwd: ROOT,
    env: { ...process.env, PORT: String(await freePort()), STATE_DIR: "/dev/null/state" },
    encoding: "utf8",
  });
  expect([status, stderr]).toEqual([
    1,
    expect.stringMatching(/^\n\/dev\/null\/state cannot be written to .*STATE_DIR=/),
  ]);
});

it("npm start prints commands that work in every shell; with a fault in the configuration it prints the fault only", async () => {
  const clone = cloneHere("whole");
  const env = { ...process.env, PORT: String(await freePort()), STATE_DIR: join(clone, "a state") };
  const gateway = spawn("npm", ["start"], { cwd: clone, env, stdio: ["ignore", "pipe", "pipe"] });
  let printed = "";
  try {
    await new Promise<void>((resolve, reject) => {
      for (const stream of [gateway.stdout, gateway.stderr]) {
        stream.on("data", (data: Buffer) => {
          printed += String(data);
          if (printed.includes("Stop with Ctrl-C")) resolve();
        });
      }
      gateway.once("exit", () => reject(new Error(printed)));
    });
    const commands = [...printed.matchAll(/env PORT=.* npm run .*?(?= {2}|$)/gm)].map(([command]) => command);
    expect(commands).toEqual([
      expect.stringMatching(/ npm run --silent first-person -- you@example\.com$/),
      expect.stringMatching(/ npm run demo$/),
    ]);
    // Of themselves the variables are not there: the commands bring them.
    const { PORT: _port, STATE_DIR: _folder, ...other } = process.env;
    const paste = (shell: string, command: string) =>
      spawnSync(shell, ["-c", command], { cwd: clone, env: other, encoding: "utf8" });
    const demo = paste("bash", commands[1]!);
    expect([demo.status, demo.stdout]).toEqual([0, expect.stringContaining("Everything was as it says.")]);
    const installed = ["fish", "zsh", "bash"].filter((shell) => spawnSync(shell, ["-c", "true"]).status === 0);
    const [first, ...more] = installed.map((shell) => paste(shell, commands[0]!));
    expect([first!.stderr, first!.status, first!.stdout]).toEqual([
      "",
      0,
      expect.stringContaining(`http://localhost:${env.PORT}/sign-in#`),
    ]);
    for (const { status, stderr } of more) {
      expect([status, stderr]).toEqual([1, expect.stringMatching(/^\nThe first person was not made: 4\d\d /)]);
    }
  } finally {
    gateway.kill("SIGTERM");
    await once(gateway, "exit");
  }

  // wrangler finds its own list of migrations, complete.
  for (const database of ["DB", "AUDIT_DB"]) {
    const list = ["d1", "migrations", "list", database, "--local", "--persist-to", env.STATE_DIR];
    const { stdout } = spawnSync("wrangler", list, { cwd: clone, env, encoding: "utf8" });
    expect(stdout).toContain("No migrations to apply");
  }
  // A migration is applied as a whole or not at all.
  const migration = join(clone, "migrations/9999_more.sql");
  const migrate = (text: string) => {
    writeFileSync(migration, text);
    return spawnSync("npm", ["start"], { cwd: clone, env: { ...env, PORT: port }, encoding: "utf8", timeout: 600_000 });
  };
  const port = String(await freePort());
  const halfway = migrate("CREATE TABLE more (a);\n-- ;\nINSERT INTO nowhere VALUES (1);");
  expect([halfway.status, halfway.stderr]).toEqual([1, expect.stringContaining("9999_more.sql: ")]);
  expect(halfway.stderr).toContain("no such table: nowhere");
  appendFileSync(join(clone, ".dev.vars"), "\nACCESS_TOKEN_TTL_SECONDS='an hour'\n");
  const failed = migrate("CREATE TABLE more (a);");
  expect([failed.status, failed.stderr]).toEqual([1, expect.stringContaining("ACCESS_TOKEN_TTL_SECONDS")]);
  expect(failed.stdout).not.toContain("AgentAuth is running");
  expect(failed.stdout).not.toContain("npm run demo");
});
