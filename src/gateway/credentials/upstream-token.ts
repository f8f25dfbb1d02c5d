import { sha256 } from "../../crypto/digest.ts";
import type { EncryptionKey } from "../../crypto/encryption.ts";
import { toHex } from "../../crypto/random.ts";
import { logFailure } from "../../log/failure-log.ts";
import type { Service } from "../../policy/services.ts";
import type { SharedFailure, SharedToken, TokenQuery, UpstreamTokens } from "./token-object.ts";
import type { TokenPlan } from "./token-request.ts";

/** An access token for an upstream. */
export interface UpstreamToken {
  readonly token: string;
  /** The only origin that it may be sent to: the instance that the token response names, or the base URL's origin. */
  readonly origin: string;
  /** Says that the upstream has refused the token. The next call gets another one, unless it has been replaced too often. */
  readonly invalidate: () => void;
}

export interface TokenContext {
  readonly env: { readonly UPSTREAM_TOKENS: DurableObjectNamespace<UpstreamTokens> };
  /** The keys of `DATA_KEYS`, newest first. */
  readonly keys: readonly EncryptionKey[];
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** What an isolate remembers of a service's token. All times are by its own clock. */
interface Remembered {
  readonly token: UpstreamToken;
  readonly usableUntil: number;
  refused: boolean;
}

const remembered = new WeakMap<Service, Remembered>();
const inFlight = new WeakMap<Service, Promise<UpstreamToken | SharedFailure>>();
const objectNames = new WeakMap<TokenPlan, Promise<string>>();

/**
 * Returns an access token of a service from this isolate's memory, or from the Durable Object of its credential, which all isolates share.
 * An isolate asks the object once at a time for each service.
 */
export async function getUpstreamToken(
  service: Service,
  plan: TokenPlan,
  context: TokenContext,
): Promise<UpstreamToken | SharedFailure> {
  const known = remembered.get(service);
  if (known && !known.refused && context.now < known.usableUntil) return known.token;
  let pending = inFlight.get(service);
  if (!pending) {
    const refused = known?.refused ? known.token.token : undefined;
    pending = askObject(service, { plan, keys: context.keys, refused }, context).finally(() =>
      inFlight.delete(service),
    );
    inFlight.set(service, pending);
    // Other requests wait for the same token, so it is fetched to the end even if the request that began it is canceled.
    context.waitUntil(pending);
  }
  return pending;
}

async function askObject(
  service: Service,
  query: TokenQuery,
  { env, now }: TokenContext,
): Promise<UpstreamToken | SharedFailure> {
  const answer = await callObject(env.UPSTREAM_TOKENS, query);
  if ("failed" in answer) return answer;
  const entry: Remembered = {
    token: {
      token: answer.token,
      origin: answer.origin,
      invalidate() {
        // A refusal that the object would ignore is not passed on to it.
        if (Date.now() >= keptUntil) entry.refused = true;
      },
    },
    usableUntil: now + answer.usableMs,
    refused: false,
  };
  const keptUntil = now + answer.keptMs;
  remembered.set(service, entry);
  return entry.token;
}

async function callObject(
  namespace: DurableObjectNamespace<UpstreamTokens>,
  query: TokenQuery,
): Promise<SharedToken | SharedFailure> {
  const name = await objectName(query);
  const call = async (): Promise<SharedToken | SharedFailure> => ({
    ...(await namespace.getByName(name).getToken(query)),
  });
  try {
    // An object that is moved or updated breaks its calls off. A new stub reaches it again.
    return await call().catch(call);
  } catch (cause) {
    logFailure("upstream_tokens_unreachable", cause);
    return { failed: "the Durable Object of its token (UPSTREAM_TOKENS) did not answer", retryMs: 1000 };
  }
}

/**
 * Returns the name of a credential's object: a hash of everything that its token depends on, and of the newest key of `DATA_KEYS`. A secret
 * or a key that is rotated leads to another object, and what the former one has stored expires there.
 */
function objectName({ plan, keys }: TokenQuery): Promise<string> {
  let name = objectNames.get(plan);
  if (!name) objectNames.set(plan, (name = sha256(JSON.stringify([plan, keys[0] ?? null])).then(toHex)));
  return name;
}
