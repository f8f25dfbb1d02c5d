import { createRemoteJWKSet, errors, type JWTVerifyGetKey } from "jose";
import type { KeySetOptions } from "./key-set-options.ts";

const FETCH_TIMEOUT_MS = 5000;
const FIRST_BACKOFF_MS = 1000;
const MAX_BACKOFF_MS = 60_000;
/**
 * How long keys are used although they cannot be fetched again. It bounds how long a service that is cut off from the
 * deployment goes on trusting a signing key that was withdrawn there.
 */
const MAX_STALE_MS = 86_400_000;

/** The keys could not be fetched. `cause` says why. */
export class KeysUnavailableError extends Error {}

/**
 * The public keys of a deployment (RFC 7517), fetched when they are first needed and kept.
 *
 * Keys that are older than `cacheMaxAge` are used while they are fetched again, and for up to a day while that fails, so that
 * an outage of the key set does not stop verification. Failed fetches are repeated with exponential back-off.
 */
export class KeySet {
  /** jose's key set, which fetches only on `reload()`: this class decides when. */
  readonly #keys: ReturnType<typeof createRemoteJWKSet>;
  #loadedAt = -Infinity;
  #triedAt = -Infinity;
  #failures = 0;
  #lastFailure: unknown;
  #loading: Promise<void> | undefined;

  constructor(url: URL) {
    const whenTold = { cacheMaxAge: Infinity, cooldownDuration: Infinity };
    this.#keys = createRemoteJWKSet(url, { ...whenTold, timeoutDuration: FETCH_TIMEOUT_MS });
  }

  /**
   * A function that resolves the key that a token names, for `jwtVerify`. It throws:
   * - `KeysUnavailableError`: there are no keys, or they do not have this one and cannot be fetched again.
   * - jose's `JWKSNoMatchingKey`: the deployment does not have this key.
   */
  getKey({ cacheMaxAge = 600, cooldown = 30 }: KeySetOptions): JWTVerifyGetKey {
    return async (header, token) => {
      const age = Date.now() - this.#loadedAt;
      if (age >= MAX_STALE_MS) await this.#load();
      else if (age >= cacheMaxAge * 1000) await this.#loadInBackground();
      try {
        return await this.#keys(header, token);
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
        // The key may be newer than the set. Made-up key ids cause one fetch in each cooldown and no more.
        if (this.#isLoading() || Date.now() - this.#triedAt >= cooldown * 1000) await this.#load();
        else if (this.#failures > 0) throw this.#unavailable();
        else throw error;
        return await this.#keys(header, token);
      }
    };
  }

  /** Fetches the keys, unless the last fetch failed a moment ago. Callers share one fetch. */
  async #load(): Promise<void> {
    if (!this.#isLoading()) {
      if (this.#isBackingOff()) throw this.#unavailable();
      this.#loading = this.#fetch();
    } else if (isCloudflareWorkers()) {
      // Workers do not settle the promise of a request that has ended, so there each request has a fetch of its own.
      this.#loading = this.#fetch();
    }
    await this.#loading;
  }

  /** Starts to fetch the keys, if that is not under way. A failure is recorded only: the present keys stay in use. */
  async #loadInBackground(): Promise<void> {
    if (this.#isLoading() || this.#isBackingOff()) return;
    const loaded = this.#load().catch(() => {});
    // Workers end what a request has begun and not awaited. There, the request that starts the fetch waits for it.
    if (isCloudflareWorkers()) await loaded;
  }

  async #fetch(): Promise<void> {
    this.#triedAt = Date.now();
    const failuresBefore = this.#failures;
    try {
      await this.#keys.reload();
      this.#loadedAt = Date.now();
      this.#failures = 0;
    } catch (error) {
      this.#lastFailure = error;
      this.#failures = failuresBefore + 1;
      throw this.#unavailable();
    } finally {
      this.#loading = undefined;
    }
  }

  /** A fetch that is older than its timeout belongs to a Worker's request that has ended. */
  #isLoading(): boolean {
    return this.#loading !== undefined && Date.now() - this.#triedAt <= FETCH_TIMEOUT_MS;
  }

  #isBackingOff(): boolean {
    const backOff = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (this.#failures - 1));
    return this.#failures > 0 && Date.now() - this.#triedAt < backOff;
  }

  #unavailable(): KeysUnavailableError {
    return new KeysUnavailableError("The keys could not be fetched.", { cause: this.#lastFailure });
  }
}

const isCloudflareWorkers = (): boolean =>
  (globalThis as { navigator?: { userAgent?: string } }).navigator?.userAgent === "Cloudflare-Workers";
