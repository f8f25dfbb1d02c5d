// @module-tag slow
import { spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildCommand } from "../../../scripts/build-command.ts";

/** `agentauth doctor --local` in a copy of the clone, whose faults each test makes. */
const ROOT = join(import.meta.dirname, "../../..");
let clone: string;
let neighbour: Server;
let port: number;

interface Seen {
  readonly code: number | null;
  readonly stderr: string;
  readonly found: Record<string, [state: string, message: string][]>;
}

async function doctor(args: readonly string[] = ["--local"], env: Record<string, string> = {}): Promise<Seen> {
  const child = spawn(process.execPath, [join(clone, "dist/npm/cli/agentauth.js"), "doctor", ...args, "--json"], {
    // Elsewhere: it looks at the clone that it lies in.
    cwd: tmpdir(),
    env: { PATH: process.env.PATH, HOME: clone, PORT: String(port + 1), ...env } as unknown as NodeJS.ProcessEnv,
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (text: Buffer) => (stdout += text.toString()));
  child.stderr.on("data", (text: Buffer) => (stderr += text.toString()));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  const found: Seen["found"] = {};
  for (const { name, state, message } of stdout === "" ? [] : JSON.parse(stdout).findings) {
    (found[name] ??= []).push([state, message]);
  }
  return { code, stderr, found };
}

beforeAll(async () => {
  clone = mkdtempSync(join(tmpdir(), "agentauth-clone-"));
  for (const name of [
    "src",
    "scripts",
    "migrations",
    "migrations-audit",
    "upstreams",
    "wrangler.toml",
    "package.json",
  ]) {
    cpSync(join(ROOT, name), join(clone, name), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(clone, "node_modules"));
  mkdirSync(join(clone, "dist/npm/cli"), { recursive: true });
  await buildCommand(join(clone, "dist/npm/cli/agentauth.js"));
  // The build puts one beside it, which is of a package and not of a clone.
  writeFileSync(join(clone, "dist/npm/package.json"), JSON.stringify({ name: "agentauth", type: "module" }));
  neighbour = createServer((_, response) => response.end("<html>"));
  await new Promise<void>((resolve) => neighbour.listen(0, "127.0.0.1", resolve));
  ({ port } = neighbour.address() as AddressInfo);
});
afterAll(() => {
  neighbour?.close();
  if (clone) rmSync(clone, { recursive: true, force: true });
});

it("finds nothing in a fresh clone, also if no deployment is named, and changes nothing", async () => {
  const { code, stderr, found } = await doctor([], { PORT: "0" });
  expect([code, stderr, found.port]).toEqual([1, "", [["fault", expect.stringContaining("1 to 65534")]]]);
  delete found.port;
  expect(Object.keys(found)).toEqual(["packages", "node", ".dev.vars", "settings", "upstreams", "state"]);
  expect(
    Object.values(found)
      .flat()
      .filter(([state]) => state !== "ok"),
  ).toEqual([]);
  const status = spawnSync("ls", ["-A"], { cwd: clone, encoding: "utf8" }).stdout;
  expect(status).not.toMatch(/\.dev\.vars|\.wrangler/);
});

it("names settings that are unknown, wrong or contradicting, and files of upstreams with their lines", async () => {
  writeFileSync(
    join(clone, ".dev.vars"),
    "REGISTRATON='open'\nREGISTRATION='everybody'\nSECRET_PEPPER='private-but-short'\n",
    { mode: 0o644 },
  );
  writeFileSync(join(clone, "upstreams/orders.toml"), 'base_url = "https://orders.example.com"\nrulez = []\n');
  writeFileSync(join(clone, "upstreams/torn.toml"), "base_url = \n");
  const wrong = await doctor();
  expect(wrong.code).toBe(1);
  expect(JSON.stringify(wrong.found)).not.toContain("private-but-short");
  expect(wrong.found[".dev.vars"]).toEqual([["warning", expect.stringContaining("chmod 600 .dev.vars")]]);
  expect(wrong.found.settings).toEqual(
    expect.arrayContaining([
      ["fault", expect.stringMatching(/^REGISTRATION .+Correct it in \.dev\.vars or wrangler\.toml\.$/)],
      ["fault", expect.stringMatching(/^SECRET_PEPPER /)],
      ["warning", expect.stringMatching(/^REGISTRATON is not a setting of AgentAuth\. Did you mean REGISTRATION\?/)],
    ]),
  );
  expect(wrong.found.upstreams).toEqual(
    expect.arrayContaining([
      ["fault", expect.stringMatching(/^upstreams\/orders\.toml:\d+: .*rulez/)],
      ["fault", expect.stringMatching(/^upstreams\/torn\.toml:1: is not valid TOML/)],
    ]),
  );
  for (const name of ["orders", "torn"]) rmSync(join(clone, `upstreams/${name}.toml`));

  writeFileSync(
    join(clone, ".dev.vars"),
    "ACCESS_TOKEN_TTL_SECONDS=9000\nREFRESH_TOKEN_TTL_SECONDS=8000\nREFRESH_FAMILY_TTL_SECONDS=7000\n",
  );
  expect((await doctor()).found.settings?.map(([state]) => state)).toEqual(["warning", "warning"]);
  rmSync(join(clone, ".dev.vars"));
});

it("names the line of a wrangler.toml that is torn, and a setting of a deployment that is misspelt", async () => {
  const file = join(clone, "wrangler.toml");
  const whole = readFileSync(file, "utf8");
  writeFileSync(file, whole.replace("[env.production.vars]", '[env.production.vars]\nISUER = "https://a.example.com"'));
  expect((await doctor()).found.settings).toEqual([
    ["warning", expect.stringMatching(/^ISUER .+ISSUER\? Rename it or remove it in \[env\.production\.vars\]/)],
  ]);
  writeFileSync(file, `name = \n${whole}`);
  const { code, found } = await doctor();
  expect([code, found["wrangler.toml"]]).toEqual([1, [["fault", expect.stringMatching(/^wrangler\.toml:1: is not/)]]]);
  writeFileSync(file, whole);
});

it("says whose the port is, and which migrations are not applied", async () => {
  mkdirSync(join(clone, ".wrangler/state/v3/d1"), { recursive: true });
  const { code, found } = await doctor(["--local"], { PORT: String(port) });
  expect([code, found.port]).toEqual([1, [["fault", expect.stringContaining("PORT=8790 npm start")]]]);
  expect(found["migrations DB"]).toEqual([["warning", expect.stringMatching(/0001_\w+\.sql.+`npm start` applies/)]]);
  expect(found["migrations AUDIT_DB"]).toEqual([["warning", expect.stringContaining("0001_")]]);
});

it("says that packages are missing or old, and refuses what does not go together", async () => {
  const file = join(clone, "package.json");
  const whole = readFileSync(file, "utf8");
  writeFileSync(file, whole.replace(/"hono": "[^"]+"/, '"hono": "0.0.1"'));
  const old = await doctor();
  expect([old.code, old.found]).toEqual([1, { packages: [["fault", expect.stringMatching(/hono\. Run `npm ci`/)]] }]);
  writeFileSync(file, whole);
  rmSync(join(clone, "node_modules"));
  const bare = await doctor();
  expect([bare.code, bare.found]).toEqual([1, { packages: [["fault", expect.stringContaining("`npm ci` first")]] }]);
  expect((await doctor(["--local", "--check"])).code).toBe(2);
  rmSync(join(clone, "scripts"), { recursive: true });
  const apart = await doctor();
  expect([apart.code, apart.stderr]).toEqual([2, expect.stringContaining("does not lie in a clone")]);
});
