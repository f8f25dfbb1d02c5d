import { DurableObject } from "cloudflare:workers";
import { decryptText, encryptText, type EncryptionKey } from "../../crypto/encryption.ts";
import { logFailure } from "../../log/failure-log.ts";
import { requestAccessToken, type TokenPlan } from "./token-request.ts";

/** What an isolate asks of the object of a credential. */
export interface TokenQuery {
  readonly plan: TokenPlan;
  /** The keys of `DATA_KEYS`, newest first. Without any, the token is kept in memory only. */
  readonly keys: readonly EncryptionKey[];
  /** A token that the upstream has refused with 401. */
  readonly refused?: string | undefined;
}

/** A token with relative times, so that the clocks of the isolate and of the object need not agree. */
export interface SharedToken {
  readonly token: string;
  readonly origin: string;
  /** For how long it may be used, in milliseconds. 0: for the requests only that waited for it. */
  readonly usableMs: number;
  /** For how long a refusal of it would be ignored, in milliseconds. */
  readonly keptMs: number;
}

/** Why there is no token, and after how many milliseconds the endpoint is asked again. It contains no value of a secret. */
export interface SharedFailure {
  readonly failed: string;
  readonly retryMs: number;
}

interface StoredToken {
  readonly token: string;
  readonly origin: string;
  /** Milliseconds since the epoch. */
  readonly usableUntil: number;
}

/** A token is not used in the last seconds of its lifetime, because the request still has to arrive. */
const EXPIRY_MARGIN_MS = 30_000;
/** So many tokens are replaced at once if the upstream refuses one after the other, and so many failed requests are repeated at once. */
const FREE_REPLACEMENTS = 3;
const FREE_FAILURES = 1;
const FIRST_WAIT_MS = 1000;
const MAX_REPLACEMENT_WAIT_MS = 300_000;
const MAX_FAILURE_WAIT_MS = 60_000;
/** A refusal so long after the last one begins a new count. */
const REPLACEMENT_MEMORY_MS = 600_000;

const STORAGE_KEY = "token";

/**
 * The access token of one upstream's credential, shared by all isolates. There is one object for each {@link TokenPlan}: a credential with
 * another secret has another object, so a token of the former secret is never served.
 *
 * It requests one token at a time, keeps it until it expires, and waits longer after each failure. Its methods return results and do not
 * throw.
 */
export class UpstreamTokens extends DurableObject<Env> {
  private held: StoredToken | undefined;
  private loading: Promise<void> | undefined;
  private inFlight: Promise<SharedToken | SharedFailure> | undefined;
  private failures = 0;
  private failure: { readonly failed: string; readonly until: number } | undefined;
  private replacements = 0;
  private replacedAt = -Infinity;
  private keptUntil = 0;

  /** Returns the token, requesting one if there is none, it expires, or it is the one that was refused. */
  async getToken(query: TokenQuery): Promise<SharedToken | SharedFailure> {
    try {
      // Requests that come together wait for the same reading, and then for the same request.
      await (this.loading ??= this.load(query.keys));
      const now = Date.now();
      if (this.held && this.held.token === query.refused && now >= this.keptUntil) await this.drop(now);
      if (this.held && now < this.held.usableUntil) return this.share(this.held, now);
      if (this.failure && now < this.failure.until) {
        return { failed: this.failure.failed, retryMs: this.failure.until - now };
      }
      return await (this.inFlight ??= this.request(query).finally(() => (this.inFlight = undefined)));
    } catch (cause) {
      logFailure("upstream_token_failed", cause);
      return { failed: "the object of its token failed", retryMs: 0 };
    }
  }

  /** Deletes everything that is stored once the token has expired, so that a credential that is no longer used leaves nothing. */
  override async alarm(): Promise<void> {
    if (this.held && Date.now() < this.held.usableUntil) await this.ctx.storage.setAlarm(this.held.usableUntil);
    else await this.ctx.storage.deleteAll();
  }

  private async load(keys: readonly EncryptionKey[]): Promise<void> {
    const stored = await this.ctx.storage.get<string>(STORAGE_KEY);
    if (stored === undefined || keys.length === 0) return;
    try {
      this.held = JSON.parse(await decryptText(stored, this.boundTo(), keys, "DATA_KEYS")) as StoredToken;
    } catch (cause) {
      // A token that cannot be read is requested again, and then overwritten.
      logFailure("upstream_token_unreadable", cause);
    }
  }

  /** Drops a token that the upstream has refused. Each further one is kept longer: an upstream that refuses every token causes no storm. */
  private async drop(now: number): Promise<void> {
    this.replacements = now - this.replacedAt > REPLACEMENT_MEMORY_MS ? 1 : this.replacements + 1;
    this.replacedAt = now;
    this.keptUntil = now + waitAfter(this.replacements, FREE_REPLACEMENTS, MAX_REPLACEMENT_WAIT_MS);
    this.held = undefined;
    await this.ctx.storage.delete(STORAGE_KEY);
  }

  private async request({ plan, keys }: TokenQuery): Promise<SharedToken | SharedFailure> {
    const issued = await requestAccessToken(plan);
    const now = Date.now();
    if ("failed" in issued) {
      this.failures++;
      const retryMs = waitAfter(this.failures, FREE_FAILURES, MAX_FAILURE_WAIT_MS);
      this.failure = { failed: issued.failed, until: now + retryMs };
      return { failed: issued.failed, retryMs };
    }
    this.failures = 0;
    this.failure = undefined;
    const { token, origin, lifetimeMs } = issued;
    const held = { token, origin, usableUntil: now + Math.max(0, lifetimeMs - EXPIRY_MARGIN_MS) };
    if (held.usableUntil > now) await this.keep(held, keys);
    return this.share(held, now);
  }

  private async keep(held: StoredToken, keys: readonly EncryptionKey[]): Promise<void> {
    this.held = held;
    if (keys.length === 0) return;
    await this.ctx.storage.put(STORAGE_KEY, await encryptText(JSON.stringify(held), this.boundTo(), keys));
    await this.ctx.storage.setAlarm(held.usableUntil);
  }

  private share({ token, origin, usableUntil }: StoredToken, now: number): SharedToken {
    return { token, origin, usableMs: usableUntil - now, keptMs: Math.max(0, this.keptUntil - now) };
  }

  private boundTo(): string {
    return `upstream token ${this.ctx.id.toString()}`;
  }
}

/** Returns how long to wait after the n-th time: not at all for the first ones, then twice as long each time. In milliseconds. */
function waitAfter(count: number, free: number, max: number): number {
  return count <= free ? 0 : Math.min(FIRST_WAIT_MS * 2 ** (count - free - 1), max);
}
