// @module-tag slow
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");
const folder = mkdtempSync(join(tmpdir(), "agentauth-command-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("a clone has the command before anything is built, and says what is missing where its Node cannot start it", () => {
  const clone = join(folder, "clone");
  for (const name of ["package.json", "src", "scripts"]) {
    cpSync(join(ROOT, name), join(clone, name), { recursive: true });
  }
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  // A cache of npm in which the command is asked for the first time, and nothing can be downloaded.
  const env = { ...process.env, npm_config_cache: join(folder, "cache"), npm_config_offline: "true" };
  const run = (command: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd: clone, env, encoding: "utf8" });
    return [status, stdout.trim(), stderr.trim()];
  };

  const plain = ["--no-experimental-strip-types", "scripts/agentauth.js", "--version"];
  expect(run(process.execPath, ...plain)).toEqual([1, "", expect.stringContaining("Run `npm ci` first")]);

  symlinkSync(join(ROOT, "node_modules"), join(clone, "node_modules"));
  expect(run("npx", "--no-install", "agentauth", "--version")).toEqual([0, version, ""]);
  // What the command ends with is what npx ends with.
  const [status, , said] = run("npx", "--no-install", "agentauth", "nonsense");
  expect([status, said]).toEqual([2, expect.stringContaining("There is no command nonsense.")]);
});
