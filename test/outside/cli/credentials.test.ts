import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import {
  credentialsPath,
  forgetCredential,
  keepAccessToken,
  keepCredential,
  readCredential,
} from "../../../src/cli/credentials.ts";
import { SLOW } from "../../support/extents.ts";

/** The file of credentials, of which several commands of one user read and write at the same time. */
let env: { HOME: string };
let path: string;
const URLS = Array.from({ length: 20 }, (_, at) => `https://auth${at}.example.com`);
const [HERE = "", ...OTHERS] = URLS;
const credential = (api_key: string) => ({ kind: "agent", agent_id: "agt_1", api_key }) as const;

beforeEach(() => {
  env = { HOME: mkdtempSync(join(tmpdir(), "agentauth-credentials-")) };
  path = credentialsPath(env);
  onTestFinished(() => rmSync(env.HOME, { recursive: true, force: true }));
});

const files = (): string[] => readdirSync(join(path, ".."));

it("loses none of what commands write at the same time", SLOW, async () => {
  await Promise.all(URLS.map((url) => keepCredential(env, url, credential(url))));
  for (const url of URLS) expect(await readCredential(env, url)).toMatchObject({ api_key: url });
  await Promise.all(
    URLS.map((url) => keepAccessToken(env, url, { apiKey: url, token: `token of ${url}`, expiresAt: 1 })),
  );
  for (const url of URLS) expect(await readCredential(env, url)).toMatchObject({ access_token: `token of ${url}` });
  expect([statSync(path).mode & 0o777, files()]).toEqual([0o600, ["credentials.json"]]);
});

it("does not sign in again, by a renewed token, what was signed out or has another key meanwhile", async () => {
  for (const url of URLS) await keepCredential(env, url, credential("first"));
  const renewed = { apiKey: "first", token: "renewed", expiresAt: 1 };
  await Promise.all([
    forgetCredential(env, HERE),
    ...OTHERS.map((url) => keepAccessToken(env, url, renewed)),
    keepAccessToken(env, HERE, renewed),
  ]);
  expect(await readCredential(env, HERE)).toBeUndefined();
  await keepCredential(env, HERE, credential("second"));
  await keepAccessToken(env, HERE, renewed);
  expect(await readCredential(env, HERE)).toEqual(credential("second"));
});

it("takes over the lock of a command that was killed", async () => {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(`${path}.lock`, "");
  const longAgo = new Date(Date.now() - 60_000);
  utimesSync(`${path}.lock`, longAgo, longAgo);
  await keepCredential(env, HERE, credential("key"));
  expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ current: HERE });
  expect(files()).toEqual(["credentials.json"]);
});

it("waits for the lock of another command", async () => {
  mkdirSync(join(path, ".."), { recursive: true });
  // Of a clock that is ahead, so that it does not grow stale here.
  writeFileSync(`${path}.lock`, "");
  const later = new Date(Date.now() + 60_000);
  utimesSync(`${path}.lock`, later, later);
  const keeping = keepCredential(env, HERE, credential("key"));
  expect(await readCredential(env, HERE)).toBeUndefined();
  rmSync(`${path}.lock`);
  await keeping;
  expect(await readCredential(env, HERE)).toEqual(credential("key"));
});
