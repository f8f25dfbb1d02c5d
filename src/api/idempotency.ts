import type { Registrar } from "../agents/register.ts";
import {
  claimingDatabase,
  deriveIdempotencyKey,
  freeKey,
  IdempotencyKeyUsedError,
  keepAnswer,
  readReplay,
  type Replay,
} from "../approvals/idempotency.ts";
import type { Caller } from "../access/authenticate.ts";
import type { PersonCaller } from "../access/person.ts";
import { clientNetwork } from "../access/client-network.ts";
import { ApiError, badRequest, conflict } from "../http/errors.ts";
import type { RequestContext } from "../http/request-context.ts";
import { logFailure } from "../log/failure-log.ts";

/** Visible ASCII (RFC 9110 §5.5 leaves more to each field). */
const KEY = /^[\x21-\x7e]{1,255}$/;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const BASE64URL = /^[\w-]{32,}$/;
/** Of the characters of a random UUID, fewer differ less than once in a billion times. */
const MIN_DISTINCT_CHARACTERS = 8;

/** A request as its route's handler gets it. */
interface Call extends RequestContext {
  readonly caller: Caller | PersonCaller | Registrar | undefined;
}

/**
 * Carries a request out once for its `Idempotency-Key`, and answers it again with the same body (draft-ietf-httpapi-idempotency-key-header).
 * Everything that can refuse the request is checked each time, the caller's authority in the very transaction that claims the key.
 *
 * @param received the body as it arrived.
 * @param secretPaths where the answer has secrets, which are kept for a shorter time than the answer.
 * @param handle handles the request with the database that it is given.
 * @returns the answer, and whether it is of an earlier request.
 * @throws {ApiError} 400 for a key that is not one, 422 for a key of another request, 409 for one that is not answered yet; what
 * `handle` throws.
 */
export async function handleOnce(
  call: Call,
  { key, received, secretPaths }: { key: string; received: string; secretPaths: readonly string[] },
  handle: (db: D1Database) => Promise<object>,
): Promise<{ answer: object; isReplayed: boolean }> {
  const { request, env, config } = call;
  const caller = callerOf(call);
  checkKey(key, caller.isStranger);
  const { pathname, search } = new URL(request.url);
  const content = `${request.method} ${pathname}${search}\n${received}`;
  const used = await deriveIdempotencyKey({ caller: caller.name, key, content }, config.peppers);
  const work = carryOut();
  // A client that closes the connection must not keep the answer from being stored.
  call.waitUntil(work.catch(() => undefined));
  return work;

  async function carryOut(): Promise<{ answer: object; isReplayed: boolean }> {
    let answer: object;
    const { db, isClaimed } = claimingDatabase(env.DB, used);
    try {
      answer = await handle(db);
    } catch (error) {
      if (error instanceof IdempotencyKeyUsedError) return toReplay(await readReplay(env.DB, used));
      // Refused by what the transaction found: nothing was changed, so the key can be used again.
      if (isClaimed() && error instanceof ApiError && error.status < 500) await freeKey(env.DB, used).catch(logUnfreed);
      throw error;
    }
    await keepAnswer(env.DB, used, answer, secretPaths).catch((cause: unknown) => {
      logFailure("answer_not_kept", cause, { request_id: call.requestId });
    });
    return { answer, isReplayed: false };
  }

  function logUnfreed(cause: unknown): void {
    logFailure("idempotency_key_not_freed", cause, { request_id: call.requestId });
  }
}

/** Who sends a request, by a name that no other caller has. An address stands for a stranger. */
function callerOf({ caller, ipAddress }: Call): { name: string; isStranger: boolean } {
  if (caller && "id" in caller) return { name: `${caller.kind} ${caller.id}`, isStranger: false };
  if (caller?.kind === "agent") return { name: `agent ${caller.authority.agentId}`, isStranger: false };
  if (caller?.kind === "bootstrap") return { name: "bootstrap", isStranger: false };
  return { name: `network ${clientNetwork(ipAddress)}`, isStranger: true };
}

/** @throws {ApiError} 400 */
function checkKey(key: string, isStranger: boolean): void {
  if (!KEY.test(key)) {
    throw invalidKey("must be one header of 1 to 255 visible ASCII characters");
  }
  if (!isStranger) return;
  // Of everybody behind one address, whoever has the key gets the answer, with its secrets.
  const text = key.replace(/^"(.*)"$/, "$1");
  const isRandom = (UUID.test(text) || BASE64URL.test(text)) && new Set(text).size >= MIN_DISTINCT_CHARACTERS;
  if (!isRandom) {
    throw invalidKey(
      "must be a random UUID, or 32 or more random characters of base64url, if the request has no access token",
    );
  }
}

const invalidKey = (fault: string): ApiError =>
  badRequest(`Idempotency-Key ${fault}.`, [{ field: "Idempotency-Key", message: fault }], "invalid_idempotency_key");

/** @throws {ApiError} */
function toReplay(replay: Replay): { answer: object; isReplayed: boolean } {
  switch (replay.result) {
    case "replayed": {
      const { answer, withoutSecrets } = replay;
      if (!withoutSecrets) return { answer, isReplayed: true };
      const message = `${String(answer.message)} This is the answer to an earlier request with the same Idempotency-Key; its secrets were kept for 10 minutes and are not shown any more.`;
      return { answer: { ...answer, message }, isReplayed: true };
    }
    case "mismatch":
      throw new ApiError(
        "idempotency_mismatch",
        "The Idempotency-Key was used for another request: another method, path or body. Use a new key for a new request.",
      );
    case "in_flight":
    case "free":
      throw inFlight();
    case "not_kept":
      throw conflict(
        "answer_not_kept",
        "The request with this Idempotency-Key was carried out, but its answer was lost. Look at what it has made, and use a new key for a new request.",
      );
  }
}

/** Two requests came at once. The one that lost gets the answer if it asks again. */
const inFlight = (): ApiError =>
  new ApiError(
    "idempotency_in_flight",
    "A request with this Idempotency-Key is being carried out. Send it again for its answer.",
    { headers: { "Retry-After": "1" } },
  );
