import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openBackup, readDataKeys, sealBackup } from "../../scripts/backup-file.ts";
import { envLine, newEncryptionKey } from "../../scripts/secrets.ts";
import { testSecrets } from "../support/secrets.ts";
import { startWorker } from "./support/worker.ts";
import { SLOW } from "../support/extents.ts";

const ROOT = join(import.meta.dirname, "../..");
const [key, former] = [newEncryptionKey(), newEncryptionKey()];
const about = { environment: "production", createdAt: new Date("2026-11-26T08:00:00Z") };
const dumps = { DB: "INSERT INTO agents VALUES('agt_1');", AUDIT_DB: "" };

const changed = (bytes: Buffer, at: number): Buffer =>
  Buffer.from(bytes.map((byte, index) => (index === at ? byte ^ 1 : byte)));

describe("a backup", () => {
  const backup = sealBackup(dumps, about, key);

  it("is read with its key, also when that one was replaced since", () => {
    expect(openBackup(backup, [former, key])).toMatchObject({
      dumps,
      header: { environment: "production", kid: key.kid },
    });
    expect(backup.toString("latin1")).not.toContain("agents");
  });

  it.each([
    ["without its key", backup, [former], "which the file of secrets does not have"],
    ["with another key of its name", backup, [{ ...former, kid: key.kid }], "does not decrypt"],
    ["with a changed byte", changed(backup, backup.length - 20), [key], "does not decrypt"],
    ["cut short", backup.subarray(0, -1), [key], "does not decrypt"],
    [
      "as one of another environment",
      Buffer.from(backup.toString("latin1").replace("production", "staging"), "latin1"),
      [key],
      "does not decrypt",
    ],
    ["of something else", Buffer.from("PRAGMA defer_foreign_keys=TRUE;\n"), [key], "no backup of AgentAuth"],
    ["of nothing", Buffer.alloc(0), [key], "no backup of AgentAuth"],
  ])("is not read %s", (_, bytes, keys, sentence) => {
    expect(() => openBackup(bytes, keys)).toThrow(sentence);
  });

  it.each([undefined, "", "{}", '{"keys":[]}', '{"keys":[{"kid":"a","k":"short"}]}'])(
    "needs a key, and %j is none",
    (setting) => {
      expect(() => readDataKeys(setting)).toThrow("DATA_KEYS is missing");
    },
  );
});

it("after a restore, agents verify with their keys, tokens have ended, and what was revoked is", SLOW, async () => {
  const folder = mkdtempSync(join(tmpdir(), "agentauth-drill-"));
  const state = join(folder, ".wrangler/state/v3");
  const secrets = join(folder, "production.secrets");
  const config = join(folder, "wrangler.toml");
  writeFileSync(secrets, envLine("DATA_KEYS", testSecrets.DATA_KEYS));
  cpSync(join(ROOT, "wrangler.toml"), config);
  for (const migrations of ["migrations", "migrations-audit"])
    cpSync(join(ROOT, migrations), join(folder, migrations), { recursive: true });
  const backup = (...args: string[]) => {
    const command = [
      join(ROOT, "scripts/backup.ts"),
      "production",
      "--local",
      `--config=${config}`,
      `--secrets=${secrets}`,
    ];
    const { status, stdout, stderr } = spawnSync(process.execPath, [...command, ...args], {
      cwd: folder,
      encoding: "utf8",
    });
    return { status, stdout, stderr };
  };
  const succeeds = (...args: string[]) => {
    const { status, stdout, stderr } = backup(...args);
    expect([status, stderr]).toEqual([0, expect.any(String)]);
    return stdout;
  };
  try {
    mkdirSync(state, { recursive: true });
    const before = await startWorker({}, { stateDir: state });
    const [kept, revoked] = [await before.agent(["github:issues:read"]), await before.agent(["github:issues:read"])];
    await before.call(`/agents/${revoked.id}/revoke`, { method: "POST", token: revoked.token, json: {} });
    const person = "'per_1', 'a@example.com', 'A', 'admin', 'active', '{}', 1";
    await before.sql(`INSERT INTO people (id, email, name, role, status, created_by, created_at) VALUES (${person})`);
    await before.sql(`INSERT INTO person_sessions (id, person_id, hash, method, auth_time, created_at, last_used_at, expires_at,
      ip_address, user_agent) VALUES ('pse_1', 'per_1', 'x', 'passkey', 1, 1, 1, 9999999999999, '', '')`);
    await before.sql(`INSERT INTO sign_in_links (id, person_id, hash, created_by, created_at, expires_at)
      VALUES ('lnk_1', 'per_1', 'x', '{}', 1, 9999999999999)`);
    await before.stop();

    const [, object] = /Stored (\S+) in agentauth-backup/.exec(succeeds())!;
    // A name that is mistyped is named, with what to do, and without what wrangler says of it.
    const mistyped = backup(`--restore=${object!.slice(0, -7)}`);
    expect([mistyped.status, mistyped.stderr]).toEqual([
      1,
      expect.stringMatching(
        /^\nagentauth-backup has no backup named "[^"]+Z" on this machine, where --local looks\. Give the whole name that was/,
      ),
    ]);

    // Into databases that are not empty nothing is restored, and the operator learns what to do.
    expect(backup(`--restore=${object}`)).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(
        /^\nDB of production has \d+ tables, and is restored only if it is empty\. Move the folder/,
      ),
    });

    // The databases are lost; the bucket is not.
    rmSync(join(state, "d1"), { recursive: true });
    expect(succeeds(`--restore=${object}`)).toContain("Restored what was there at");

    const after = await startWorker({}, { stateDir: state });
    const verify = ({ id, apiKey }: typeof kept) =>
      after.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
    expect((await after.call(`/agents/${kept.id}`, { token: kept.token })).status).toBe(401);
    expect((await verify(kept)).status).toBe(200);
    expect((await verify(revoked)).body).toMatchObject({ status: 401 });
    expect(await after.sql("SELECT count(*) AS applied FROM agents")).toEqual([{ applied: 2 }]);
    // What had ended since, or was used, would be back with them.
    const counts = ["people", "person_sessions", "sign_in_links"].map(
      (name) => `(SELECT count(*) FROM ${name}) AS ${name}`,
    );
    expect(await after.sql(`SELECT ${counts.join(", ")}`)).toEqual([
      { people: 1, person_sessions: 0, sign_in_links: 0 },
    ]);
    await after.stop();
    expect(readFileSync(secrets, "utf8")).toContain("DATA_KEYS");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
