import { newEncryptionKey, newSigningKey } from "../../scripts/secrets.ts";

/** Fresh secrets for one test run. */
export const testSecrets = {
  SIGNING_KEYS: JSON.stringify({ keys: [newSigningKey(), newSigningKey()] }),
  WEBHOOK_KEYS: JSON.stringify({ keys: [newEncryptionKey()] }),
  DATA_KEYS: JSON.stringify({ keys: [newEncryptionKey()] }),
  SECRET_PEPPER: "test-pepper-0123456789-0123456789-0123",
  ADMIN_BOOTSTRAP_TOKEN: "boot_test-0123456789-0123456789",
  UPSTREAM_GITHUB_TOKEN: "ghp_real-credential-of-the-company",
  UPSTREAM_LAB_TOKEN: "lab-real-credential-of-the-company",
};

/** A text of the form of an API key, its checksum included, that is nobody's. */
export const WRONG_API_KEY = "ak_WrongKeyWrongKeyWrongKeyWrongKeyWrongKeyWro0hrSr1";
