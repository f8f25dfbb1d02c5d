import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { hashOf } from "../../src/people/token.ts";
import { SLOW } from "../support/extents.ts";

const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);
const stateDir = mkdtempSync(join(tmpdir(), "agentauth-recover-"));
const env = { ...process.env, STATE_DIR: stateDir, WRANGLER_SEND_METRICS: "false" };

/** The command, as an operator runs it. */
const recover = (...args: string[]): Promise<{ code: number; text: string }> => recoverIn(stateDir, ...args);

const recoverIn = (folder: string, ...args: string[]): Promise<{ code: number; text: string }> =>
  run("npm", ["run", "--silent", "recover", "--", ...args], { cwd: ROOT, env: { ...env, STATE_DIR: folder } }).then(
    ({ stdout, stderr }) => ({ code: 0, text: stdout + stderr }),
    ({ code, stdout, stderr }) => ({ code, text: stdout + stderr }),
  );

async function wrangler(...args: string[]): Promise<string> {
  const options = ["--local", "--persist-to", stateDir];
  return (await run("npx", ["wrangler", "d1", ...args, ...options], { cwd: ROOT, env })).stdout;
}

/** The rows of each of these statements. Each start of wrangler takes seconds. */
const rowsOf = async (sql: string): Promise<Record<string, unknown>[][]> =>
  (JSON.parse(await wrangler("execute", "DB", "--json", "--command", sql)) as { results: [] }[]).map(
    ({ results }) => results,
  );

beforeAll(async () => {
  await wrangler("migrations", "apply", "DB");
  await rowsOf(`INSERT INTO people (id, email, name, role, status, created_by, created_at, joined_at) VALUES
    ('per_1', 'o''neil@example.com', 'O?1 ''Neil', 'admin', 'active', '{}', 0, 1),
    ('per_2', 'other@example.com', 'Other', 'admin', 'active', '{}', 0, 1),
    ('per_3', 'gone@example.com', 'Gone', 'owner', 'suspended', '{}', 0, 1)`);
});

afterAll(() => rmSync(stateDir, { recursive: true }));

it("says that nothing was started here", SLOW, async () => {
  const empty = join(stateDir, "empty");
  expect(await recoverIn(empty, "ada@example.com")).toEqual({
    code: 1,
    text: `\nThere is no deployment in ${empty}. Start one with \`npm start\` first, or name its folder in STATE_DIR.\n\n`,
  });
});

it("makes a link for whom it has named, and tells them and the administrators", SLOW, async () => {
  expect(await recover("O'Neil@Example.com")).toMatchObject({
    code: 0,
    text: expect.stringContaining("Nothing was changed"),
  });
  for (const [args, said] of [
    [["nobody@example.com", "--yes"], "Nobody has the address nobody@example.com"],
    [["gone@example.com", "--yes"], "suspended"],
    [["fırst@example.com", "--yes"], "not an address in ASCII"],
    [["a@example.com", "b@example.com"], "npm run --silent recover -- EMAIL"],
  ] as const) {
    expect(await recover(...args)).toMatchObject({ code: 1, text: expect.stringContaining(said) });
  }
  const made = await recover("o'neil@example.com", "--yes");
  const [, origin, token] = /^(\S+)\/sign-in#link=(psl_\w+)$/m.exec(made.text) ?? [];
  expect([made.code, origin]).toEqual([0, "http://localhost:8787"]);
  const [links, notices, records] = await rowsOf(`SELECT person_id, hash, created_by, used_at FROM sign_in_links;
    SELECT to_person_id, kind FROM person_notices ORDER BY to_person_id; SELECT entry FROM audit_outbox`);
  const [link, ...others] = links!;
  expect(others).toEqual([]);
  expect(link).toMatchObject({ person_id: "per_1", hash: await hashOf(token!), used_at: null });
  expect(JSON.parse(String(link!.created_by))).toMatchObject({
    type: "system",
    name: "the operator, by npm run recover",
  });
  expect(notices).toEqual([
    { to_person_id: "per_1", kind: "link.created" },
    { to_person_id: "per_2", kind: "link.created" },
  ]);
  const [record] = records!;
  expect(JSON.parse(String(record!.entry))).toMatchObject({ action: "link.created", actor: { type: "system" } });
  expect(JSON.stringify(record)).not.toContain(token);
});
