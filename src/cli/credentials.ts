import { randomBytes } from "node:crypto";
import { chmod, lstat, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { EXIT, Failure, usage } from "./failure.ts";

/** How the command is signed in to a deployment. */
export type Credential = AgentCredential | PersonCredential;

/** As an agent. The access token is kept so that not every command opens a session; its refresh token is not: two commands cannot share one. */
interface AgentCredential {
  readonly kind: "agent";
  readonly agent_id: string;
  readonly api_key: string;
  readonly access_token?: string;
  /** Milliseconds. */
  readonly expires_at?: number;
}

/** As a person, by the device grant. */
interface PersonCredential {
  readonly kind: "person";
  readonly access_token: string;
  /** Milliseconds. */
  readonly expires_at: number;
}

/** The file: the deployments by their addresses, and the one that was signed in to last. */
interface Stored {
  readonly version: 1;
  readonly current?: string;
  readonly deployments: Readonly<Record<string, Credential>>;
}

const EMPTY: Stored = { version: 1, deployments: {} };

type Env = Readonly<Record<string, string | undefined>>;

/** Where credentials are kept (https://specifications.freedesktop.org/basedir-spec/latest/). */
export const credentialsPath = (env: Env): string =>
  join(env.XDG_CONFIG_HOME || join(env.HOME || homedir(), ".config"), "agentauth", "credentials.json");

/** @throws {Failure} if others can read the file, or it is not one of this command. */
async function readStored(env: Env): Promise<Stored> {
  const path = credentialsPath(env);
  let text: string;
  try {
    const file = await lstat(path);
    if (file.isSymbolicLink()) {
      throw new Failure(
        EXIT.notSignedIn,
        "credentials_linked",
        `${path} is a link to another place. Remove it, and sign in again with \`agentauth login\`.`,
      );
    }
    const { mode } = file;
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      throw new Failure(
        EXIT.notSignedIn,
        "credentials_readable",
        `Others on this machine may read ${path}. Rotate what is in it if they should not have, and run \`chmod 600 ${path}\`.`,
      );
    }
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return EMPTY;
    throw error;
  }
  try {
    const stored = JSON.parse(text) as Stored;
    if (stored.version === 1 && typeof stored.deployments === "object") return stored;
  } catch {
    // Said below.
  }
  throw new Failure(
    EXIT.notSignedIn,
    "credentials_not_readable",
    `${path} is not a file that this version of the command has written. Delete it, and run \`agentauth login\`.`,
  );
}

/** A lock that is older than this was left by a command that was killed: what is done under it takes milliseconds. */
const STALE_LOCK_MS = 10_000;
const LOCK_POLL_MS = 20;

/**
 * Does something while no other command does: reading and writing the file are two steps, and of two commands the later would undo what
 * the earlier has done, such as a logout.
 */
async function withLock(path: string, work: () => Promise<void>): Promise<void> {
  const lock = `${path}.lock`;
  for (;;) {
    try {
      await (await open(lock, "wx", 0o600)).close();
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const { mtimeMs } = await lstat(lock).catch(() => ({ mtimeMs: Infinity }));
    if (Date.now() - mtimeMs > STALE_LOCK_MS) await rm(lock, { force: true });
    else await sleep(LOCK_POLL_MS);
  }
  try {
    await work();
  } finally {
    await rm(lock, { force: true });
  }
}

/**
 * Changes the file, one command after the other. It is replaced in one step: who only reads sees the former one or this one, and nobody
 * else any.
 *
 * @param change the new content of the former, or undefined for no change.
 */
async function changeStored(env: Env, change: (stored: Stored) => Stored | undefined): Promise<void> {
  const path = credentialsPath(env);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await chmod(dirname(path), 0o700);
  await withLock(path, async () => {
    const stored = change(await readStored(env));
    if (stored === undefined) return;
    const temporary = `${path}.${randomBytes(8).toString("hex")}`;
    try {
      const file = await open(temporary, "wx", 0o600);
      try {
        await file.writeFile(`${JSON.stringify(stored, null, 2)}\n`);
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  });
}

export const readCredential = async (env: Env, url: string): Promise<Credential | undefined> => {
  const { deployments } = await readStored(env);
  return Object.hasOwn(deployments, url) ? deployments[url] : undefined;
};

/** Keeps how the command is signed in to a deployment, which is the current one from now on. */
export const keepCredential = (env: Env, url: string, credential: Credential): Promise<void> =>
  changeStored(env, ({ deployments }) => ({
    version: 1,
    current: url,
    deployments: { ...deployments, [url]: credential },
  }));

/** Keeps a new access token that a key got, unless the command was signed out, or in with another key, meanwhile. */
export const keepAccessToken = (
  env: Env,
  url: string,
  { apiKey, token, expiresAt }: { apiKey: string; token: string; expiresAt: number },
): Promise<void> =>
  changeStored(env, (stored) => {
    const known = Object.hasOwn(stored.deployments, url) ? stored.deployments[url] : undefined;
    if (known?.kind !== "agent" || known.api_key !== apiKey) return undefined;
    const renewed = { ...known, access_token: token, expires_at: expiresAt };
    return { ...stored, deployments: { ...stored.deployments, [url]: renewed } };
  });

export const forgetCredential = (env: Env, url: string): Promise<void> =>
  changeStored(env, ({ current, deployments: { [url]: _gone, ...deployments } }) => ({
    version: 1,
    ...(current !== undefined && current !== url && { current }),
    deployments,
  }));

/** Whether a deployment is named: by `--url`, by `AGENTAUTH_URL`, or because somebody has signed in to one. @throws {Failure} */
export const namesDeployment = async (env: Env, option: string | undefined): Promise<boolean> =>
  option !== undefined || Boolean(env.AGENTAUTH_URL) || (await readStored(env)).current !== undefined;

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/**
 * Returns the address of the deployment: that of `--url`, of `AGENTAUTH_URL`, or the one that was signed in to last. Keys and tokens are
 * only sent over https, or to this machine.
 *
 * @throws {Failure}
 */
export async function deploymentUrl(env: Env, option: string | undefined): Promise<string> {
  const text = option ?? (env.AGENTAUTH_URL || (await readStored(env)).current);
  if (text === undefined) {
    throw usage("Which deployment? Name it with --url https://agentauth.example.com, or in AGENTAUTH_URL.");
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw usage("--url and AGENTAUTH_URL must be an address such as https://agentauth.example.com.");
  }
  if (url.protocol === "http:" && !LOOPBACK.test(url.hostname)) {
    throw usage("--url and AGENTAUTH_URL must begin with https: a key would cross the network in plain text.");
  }
  return (url.origin + url.pathname).replace(/\/+$/, "");
}
