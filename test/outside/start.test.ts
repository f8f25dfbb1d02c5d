import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "agentauth-clone-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("npm start in a clone without packages says that `npm ci` comes first", () => {
  mkdirSync(join(folder, "scripts"));
  copyFileSync(join(ROOT, "package.json"), join(folder, "package.json"));
  for (const name of ["installed.js", "start.ts"])
    copyFileSync(join(ROOT, "scripts", name), join(folder, "scripts", name));
  const { status, stderr } = spawnSync("npm", ["start"], { cwd: folder, encoding: "utf8" });
  expect([status, stderr]).toEqual([1, expect.stringContaining("Run `npm ci` first, and then `npm start`.")]);
  expect(stderr).not.toContain("at ");

  mkdirSync(join(folder, "node_modules/.bin"), { recursive: true });
  writeFileSync(join(folder, "node_modules/.bin/wrangler"), "");
  expect(spawnSync("node", ["scripts/installed.js"], { cwd: folder }).status).toBe(0);
});
