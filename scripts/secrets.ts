import { generateKeyPairSync, randomBytes } from "node:crypto";
import { appendFileSync, chmodSync, existsSync, writeFileSync } from "node:fs";
import { DEV_VARS, readDevVars } from "./local.ts";

const keyId = (): string => `${new Date().toISOString().slice(0, 10)}-${randomBytes(4).toString("hex")}`;

type Jwk = Record<string, string> & { kid: string };

/** An ES256 private key as a JWK. */
export function newSigningKey(): Jwk {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const { kty, crv, x, y, d } = privateKey.export({ format: "jwk" }) as Record<string, string>;
  return { kty: kty!, crv: crv!, kid: keyId(), x: x!, y: y!, d: d! };
}

/** A 256-bit AES-GCM key as a JWK. */
export function newEncryptionKey(): Jwk & { kty: "oct"; k: string } {
  return { kty: "oct", kid: keyId(), k: randomBytes(32).toString("base64url") };
}

/** A key of `SECRET_PEPPER`. Its id is part of every refresh token, so it is short. */
export const newPepper = (): { id: string; secret: string } => ({
  id: randomBytes(4).toString("hex"),
  secret: randomBytes(32).toString("base64url"),
});

/** One whole set of the secrets that a deployment needs. */
export function newSecrets(): Record<string, string> {
  return {
    SIGNING_KEYS: JSON.stringify({ keys: [newSigningKey()] }),
    WEBHOOK_KEYS: JSON.stringify({ keys: [newEncryptionKey()] }),
    DATA_KEYS: JSON.stringify({ keys: [newEncryptionKey()] }),
    SECRET_PEPPER: randomBytes(32).toString("base64url"),
    ADMIN_BOOTSTRAP_TOKEN: `boot_${randomBytes(24).toString("base64url")}`,
  };
}

/** A line of a `.env` file, as wrangler reads it. None of our values contains a quote. */
export const envLine = (name: string, value: string): string => `${name}='${value}'\n`;

/** Completes `.dev.vars` for local development. What stands there already is kept. Returns the names that were added. */
export function completeDevVars(): string[] {
  const present = readDevVars();
  const wanted: Record<string, string> = {
    ENVIRONMENT: "development",
    // Over that of wrangler.toml, which is the deployment's: `npm start` takes its own address then.
    ISSUER: "",
    REGISTRATION: "open",
    WEBHOOK_ALLOW_LOOPBACK: "true",
    ...newSecrets(),
    UPSTREAM_SAMPLE_TOKEN: `sample_${randomBytes(18).toString("base64url")}`,
  };
  const missing = Object.keys(wanted).filter((name) => present[name] === undefined);
  if (missing.length === 0) return [];
  if (!existsSync(DEV_VARS)) {
    writeFileSync(DEV_VARS, "# Local development only. Made by `npm start`; never commit it.\n", { mode: 0o600 });
  }
  appendFileSync(DEV_VARS, missing.map((name) => envLine(name, wanted[name] ?? "")).join(""));
  chmodSync(DEV_VARS, 0o600);
  return missing;
}
