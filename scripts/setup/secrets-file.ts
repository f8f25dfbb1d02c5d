import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseEnv } from "node:util";
import { envLine } from "../secrets.ts";

/** Reads the operator's own copy of a deployment's secrets; a file that does not exist has none. */
export function readSecrets(file: string): Readonly<Record<string, string>> {
  return existsSync(file) ? (parseEnv(readFileSync(file, "utf8")) as Record<string, string>) : {};
}

/** Adds secrets to the file, which only its owner can read. */
export function addSecrets(file: string, secrets: Readonly<Record<string, string>>): void {
  const before = existsSync(file) ? readFileSync(file, "utf8") : "";
  const lines = Object.entries(secrets).map(([name, value]) => envLine(name, value));
  writeFileSync(file, `${before}${before === "" || before.endsWith("\n") ? "" : "\n"}${lines.join("")}`, {
    mode: 0o600,
  });
}

/** What to do with the secrets that a deployment needs. */
export interface SecretsPlan {
  /** To be made, written to the file, and set. */
  readonly make: readonly string[];
  /** In the file, and to be set. */
  readonly set: readonly string[];
  /** Set, but not in the file: whoever has made them has the operator's copy. */
  readonly onlyDeployed: readonly string[];
}

/**
 * Decides what to do with each secret. One that the Worker has is never replaced: its keys may be in use.
 *
 * @param needed the names of the secrets of a new deployment.
 * @param deployed the names of the Worker's secrets.
 * @param inFile the names of the secrets in the operator's file.
 * @param hasPeople whether a person administers the deployment: then it needs no bootstrap token any more.
 */
export function planSecrets(
  needed: readonly string[],
  deployed: ReadonlySet<string>,
  inFile: ReadonlySet<string>,
  hasPeople: boolean,
): SecretsPlan {
  const wanted = needed.filter((name) => !(hasPeople && name === BOOTSTRAP_TOKEN));
  const missing = wanted.filter((name) => !deployed.has(name));
  return {
    make: missing.filter((name) => !inFile.has(name)),
    set: missing.filter((name) => inFile.has(name)),
    onlyDeployed: wanted.filter((name) => deployed.has(name) && !inFile.has(name)),
  };
}

export const BOOTSTRAP_TOKEN = "ADMIN_BOOTSTRAP_TOKEN";
