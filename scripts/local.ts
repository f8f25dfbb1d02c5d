import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseEnv } from "node:util";

/** The settings of local development, shared by the commands that speak to it. */
export const ROOT = join(import.meta.dirname, "..");
export const PORT = Number(process.env.PORT ?? 8787);
export const STATE_DIR = resolve(ROOT, process.env.STATE_DIR ?? ".wrangler/state");
export const BASE_URL = `http://127.0.0.1:${PORT}`;
/**
 * Where people sign in, and the issuer of the tokens of `npm start`: an address cannot have passkeys
 * (https://www.w3.org/TR/webauthn-3/#relying-party-identifier). {@link BASE_URL} serves the same API.
 */
export const PUBLIC_URL = `http://localhost:${PORT}`;
/** Where the sample upstream listens: written by `npm start`, read by `npm run demo`. */
export const SAMPLE_URL_FILE = join(STATE_DIR, "sample-upstream-url");
export const DEV_VARS = join(ROOT, ".dev.vars");
/** The native compiler of TypeScript 7. TypeScript 5 stays beside it for its compiler API, which version 7 does not have yet. */
export const TSC = join(ROOT, "node_modules/typescript-7/bin/tsc");

/** The issuer of local development: what `.dev.vars` says, and {@link PUBLIC_URL} if it says nothing. */
export const localIssuer = ({ ISSUER }: Record<string, string | undefined>): string => ISSUER || PUBLIC_URL;

export function readDevVars(): Record<string, string | undefined> {
  return existsSync(DEV_VARS) ? parseEnv(readFileSync(DEV_VARS, "utf8")) : {};
}

/** Ends the command with a sentence instead of a stack. */
export function fail(message: string): never {
  console.error(`\n${message}\n`);
  process.exit(1);
}
