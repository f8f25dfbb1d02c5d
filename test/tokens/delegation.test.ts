import { describe, expect, it } from "vitest";
import type { TokenLink } from "../../src/authority/token-row.ts";
import { readDelegation, toDelegationClaims, type Delegation } from "../../src/tokens/delegation.ts";

const ID = "tok_this";
const SUBJECT: TokenLink = { agentId: "agt_subject", version: 3, basis: { sessionId: "ses_1" } };
const MIDDLE: TokenLink = {
  agentId: "agt_middle",
  version: 1,
  basis: { keyId: "key_m", tokenId: "tok_own" },
  exchanged: "tok_first",
};
const OWN: TokenLink = { agentId: "agt_actor", version: 2, basis: { keyId: "key_a", tokenId: ID }, exchanged: ID };
const DELEGATION: Delegation = { actors: ["agt_actor#sub", "agt_middle"], delegators: [SUBJECT, MIDDLE] };

/** What a token's claims are read as. */
function read(changes: Record<string, unknown>) {
  const claims = { sub: "agt_subject", act: act("agt_actor#sub", "agt_middle"), chain: CHAIN };
  return readDelegation(JSON.parse(JSON.stringify({ ...claims, ...changes })), ID);
}
const act = (...subs: string[]): object =>
  subs.length === 1 ? { sub: subs[0] } : { sub: subs[0], act: act(...subs.slice(1)) };
const CHAIN = [
  { sub: "agt_subject", ver: 3, sid: "ses_1" },
  { sub: "agt_middle", ver: 1, key_id: "key_m", jti: "tok_own", token: "tok_first" },
  { sub: "agt_actor", ver: 2, key_id: "key_a" },
];
/** The chain with other claims in one link. */
const link = (at: number, changes: Record<string, unknown>) => ({
  chain: CHAIN.with(at, { ...CHAIN[at], ...changes } as never),
});

describe("the claims of a delegated token", () => {
  it("are read as they are written", () => {
    // The id of a token is not known when its claims are made, and is not in them.
    const own = { agentId: OWN.agentId, version: OWN.version, basis: { keyId: "key_a", tokenId: "" } };
    expect(toDelegationClaims(DELEGATION, own)).toEqual({ act: act("agt_actor#sub", "agt_middle"), chain: CHAIN });
    expect(read({})).toEqual({ delegation: DELEGATION, own: OWN });
    expect(read({ chain: CHAIN.with(2, { sub: "agt_actor", ver: 2, sid: "ses_2" } as never) })?.own).toEqual({
      agentId: "agt_actor",
      version: 2,
      basis: { sessionId: "ses_2" },
      exchanged: ID,
    });
  });

  it.each<[name: string, changes: Record<string, unknown>]>([
    ["a version of its own", { ver: 3 }],
    ["a session of its own", { sid: "ses_1" }],
    ["a key of its own", { key_id: "key_a" }],
    ["no actor", { act: undefined }],
    ["an actor that is a text", { act: "agt_actor" }],
    ["an actor without a name", { act: { act: { sub: "agt_middle" } } }],
    ["an actor whose name is a number", { act: { sub: 7, act: { sub: "agt_middle" } } }],
    ["an actor less than links", { act: act("agt_actor") }],
    ["an actor more than links", { act: act("agt_actor", "agt_middle", "agt_more") }],
    ["actors in another order", { act: act("agt_middle", "agt_actor") }],
    ["an actor that is another agent", { act: act("agt_other", "agt_middle") }],
    ["another subject", { sub: "agt_other" }],
    ["no chain", { chain: undefined }],
    ["a chain that is no list", { chain: { 0: CHAIN[0], 1: CHAIN[1], 2: CHAIN[2], length: 3 } }],
    ["a link that is null", { chain: CHAIN.with(1, null as never) }],
    ["a link of an agent that is a number", link(1, { sub: 7 })],
    ["a version of 0", link(0, { ver: 0 })],
    ["a version that is a text", link(0, { ver: "3" })],
    ["a version that is no whole number", link(2, { ver: 1.5 })],
    ["a link of a session and a key", link(0, { key_id: "key_s", jti: "tok_s" })],
    ["a link of a session and a token", link(0, { jti: "tok_s" })],
    ["a link of neither", link(2, { key_id: undefined })],
    ["a key that is a number", link(2, { key_id: 7 })],
    ["a session that is a number", link(0, { sid: 7 })],
    [
      "a first link of a key without its token",
      { chain: CHAIN.with(0, { sub: "agt_subject", ver: 3, key_id: "k" } as never) },
    ],
    ["a token that the first link was exchanged for", link(0, { token: "tok_0" })],
    ["a middle link without the token of its exchange", link(1, { token: undefined })],
    ["a last link that names the token", link(2, { token: ID })],
    ["an empty token of an exchange", link(1, { token: "" })],
    ["an empty id of a token", link(1, { jti: "" })],
    ["an id of a token that is a number", link(1, { jti: 7 })],
  ])("with %s are none of ours", (_, changes) => {
    expect(read(changes)).toBeUndefined();
  });

  it("let nobody act for itself, by however many others", () => {
    const chain = [CHAIN[0], CHAIN[1], { ...CHAIN[2], sub: "agt_subject" }];
    expect(read({ chain, act: act("agt_subject", "agt_middle") })).toBeUndefined();
    // A sub-agent of the subject is its own name.
    expect(read({ chain, act: act("agt_subject#sub", "agt_middle") })).toBeDefined();
  });

  it("have four actors at most", () => {
    const actors = ["a", "b", "c", "d", "e"];
    const chainOf = (count: number) => [
      { sub: "agt_subject", ver: 1, sid: "ses_1" },
      ...actors
        .slice(0, count)
        .toReversed()
        .map((sub, at) => ({ sub, ver: 1, key_id: "k", token: at < count - 1 ? `tok_${sub}` : undefined })),
    ];
    expect(read({ act: act(...actors.slice(0, 4)), chain: chainOf(4) })).toBeDefined();
    expect(read({ act: act(...actors), chain: chainOf(5) })).toBeUndefined();
  });
});
