// @module-tag slow
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";

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
