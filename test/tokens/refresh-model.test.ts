import { afterAll, describe, expect, it, vi } from "vitest";
import fc from "fast-check";
import { decodeJwt } from "jose";
import type { SessionRecord } from "../../src/tokens/records.ts";
import type { Peppers } from "../../src/crypto/pepper.ts";
import { firstRefreshToken, nextRefreshToken } from "../../src/tokens/refresh-token.ts";
import { decideRefresh, deriveForward } from "../../src/tokens/refresh.ts";
import { SLOW, extents } from "../support/extents.ts";
import { world, type Registered, type World } from "../support/world.ts";

const GRACE = 10;
const TTL = 300;
const FAMILY = 900;
const CAP = 3;
const SETTINGS = {
  REFRESH_GRACE_SECONDS: String(GRACE),
  REFRESH_TOKEN_TTL_SECONDS: String(TTL),
  REFRESH_FAMILY_TTL_SECONDS: String(FAMILY),
  SESSIONS_PER_AGENT: String(CAP),
};

/** One step of a history: which session, which of its tokens counted from the newest, how many at once. */
type Step =
  | { readonly do: "refresh"; readonly session: number; readonly back: number; readonly times: number }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "verify" | "rotate_key" | "revoke_tokens" | "suspend" | "activate" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("refresh" as const),
      session: fc.constantFrom(0, 0, 0, 1, 2),
      back: fc.constantFrom(0, 0, 0, 1, 1, 2, 2, 3),
      times: fc.oneof(
        { weight: 4, arbitrary: fc.constant(1) },
        { weight: 1, arbitrary: fc.integer({ min: 2, max: 5 }) },
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("wait" as const),
      ms: fc.constantFrom(1, 1, 5_000, 9_999, 10_000, 10_000, 10_001, 60_000, 299_999, 300_000),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ do: "verify" as const }) },
  {
    weight: 2,
    arbitrary: fc.constantFrom("suspend", "activate", "rotate_key", "revoke_tokens").map((what) => ({ do: what })),
  },
);

const verifications = (n: number): Step[] => Array.from({ length: n }, () => ({ do: "verify" }));

interface Session {
  readonly id: string;
  readonly born: number;
  readonly version: number;
  /** By generation, the first at 0. */
  readonly texts: string[];
  access: string;
  rotated: number;
  rotatedBefore: number;
  refreshed: number;
  expires: number;
  ended: boolean;
}

/** The contract of an agent's sessions as a model without a database. */
class Model {
  readonly sessions: Session[] = [];
  active = true;
  version = 1;

  open({ refresh_token: text, access_token: access }: Tokens, now: number): void {
    const id = decodeJwt(access).sid as string;
    const opened: Session = {
      id,
      born: now,
      version: this.version,
      texts: [text],
      access,
      rotated: now,
      rotatedBefore: now,
      refreshed: now,
      expires: now + TTL * 1000,
      ended: false,
    };
    const others = this.sessions
      .filter((one) => this.stands(one) && one.expires > now)
      .toSorted((one, other) => other.refreshed - one.refreshed || (one.id < other.id ? -1 : 1));
    for (const one of others.slice(CAP - 1)) one.expires = now;
    this.sessions.push(opened);
  }

  stands({ ended, version }: Session): boolean {
    return !ended && version === this.version && this.active;
  }

  /** The generation of the token that the answer has, or undefined for a refusal. */
  refresh(session: Session, at: number, now: number): number | undefined {
    const newest = session.texts.length - 1;
    if (!this.stands(session) || now >= session.born + FAMILY * 1000) return undefined;
    const since = [undefined, session.rotated, session.rotatedBefore][newest - at];
    if (at < newest && !(since !== undefined && now - since <= GRACE * 1000)) {
      session.ended = true;
      return undefined;
    }
    if (now >= session.expires) return undefined;
    if (at < newest) return newest;
    session.rotatedBefore = session.rotated;
    session.rotated = session.refreshed = now;
    session.expires = Math.min(now + TTL * 1000, session.born + FAMILY * 1000);
    session.texts.push("");
    return newest + 1;
  }
}

interface Tokens {
  readonly access_token: string;
  readonly refresh_token: string;
}

async function verify(self: World, { id, apiKey }: Registered): Promise<Tokens | undefined> {
  const { body } = await self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
  return body.token;
}

describe("any history of refreshes, replays, revocations and time", () => {
  afterAll(() => void vi.useRealTimers());

  for (const { numRuns, options } of extents(1, 200)) {
    it(`comes to what the model says, step by step, in ${numRuns} histories`, options, () => compare(numRuns));
  }

  it(
    "comes to it at the last millisecond of the grace and at the first after it, of one generation and of two",
    SLOW,
    () => {
      const newest = { do: "refresh", session: 0, back: 0, times: 1 } as const;
      const histories = [1, 2].flatMap((back) =>
        [10_000, 10_001].map((ms): [Step[]] => [
          [...Array.from({ length: back }, () => newest), { do: "wait", ms }, { ...newest, back }, newest],
        ]),
      );
      return compare(histories.length, histories);
    },
  );

  async function compare(numRuns: number, given: readonly [Step[]][] = []): Promise<void> {
    vi.useFakeTimers({ toFake: ["Date"] });
    const unlimited = { limit: async () => ({ success: true }) };
    const self = world({ ...SETTINGS, RATE_FREE: unlimited, RATE_ENTERPRISE: unlimited, RATE_ADDRESS: unlimited });
    const admin = await self.admin();
    const adminToken = async () => (await verify(self, admin))!.access_token;

    const history = fc.array(step, { minLength: 4, maxLength: 24 });
    const examples: [Step[]][] = [
      ...given,
      // Three answers in a row are lost; above the cap; reuse of a session that lost its token for the cap.
      [[0, 1, 2, 3].map((back) => ({ do: "refresh", session: 0, back, times: 1 }))],
      [[...verifications(CAP + 1), { do: "refresh", session: 0, back: 0, times: 1 }]],
      [
        [
          { do: "refresh", session: 0, back: 0, times: 5 },
          ...verifications(CAP),
          { do: "wait", ms: 10_001 },
          { do: "refresh", session: 0, back: 1, times: 1 },
        ],
      ],
    ];
    await fc.assert(
      fc.asyncProperty(history, async (steps) => {
        const agent = await self.agent();
        const model = new Model();
        model.open({ refresh_token: agent.refreshToken, access_token: agent.token }, Date.now());
        for (const one of steps) {
          switch (one.do) {
            case "wait":
              vi.setSystemTime(Date.now() + one.ms);
              break;
            case "verify": {
              const tokens = await verify(self, agent);
              expect(tokens !== undefined).toBe(model.active);
              if (tokens) model.open(tokens, Date.now());
              break;
            }
            case "rotate_key": {
              const rotated = await self.call(`/agents/${agent.id}/rotate-key`, {
                method: "POST",
                token: await adminToken(),
                json: { overlap_seconds: 0 },
              });
              agent.apiKey = rotated.body.credentials.api_key;
              model.version++;
              break;
            }
            case "revoke_tokens": {
              const session = model.sessions[0]!;
              const { status } = await self.call("/agents/revoke-tokens", { method: "POST", token: session.access });
              expect(status === 200).toBe(model.stands(session));
              if (status === 200) model.version++;
              break;
            }
            case "suspend":
            case "activate": {
              const status = one.do === "suspend" ? "suspended" : "active";
              await self.call(`/agents/${agent.id}/status`, {
                method: "PUT",
                token: await adminToken(),
                json: { status },
              });
              if (status === "suspended" && model.active) model.version++;
              model.active = status === "active";
              break;
            }
            case "refresh": {
              const session = model.sessions[one.session % model.sessions.length]!;
              const at = Math.max(0, session.texts.length - 1 - one.back);
              const text = session.texts[at]!;
              const expected = Array.from({ length: one.times }, () => model.refresh(session, at, Date.now()));
              const answers = await Promise.all(
                expected.map(() => self.call("/agents/refresh", { method: "POST", json: { refresh_token: text } })),
              );
              const gave = answers.filter(({ status }) => status === 200);
              expect(gave.length).toBe(expected.filter((generation) => generation !== undefined).length);
              // Whoever gets an answer gets the one valid token: a session never forks.
              const valid = new Set(gave.map(({ body }) => body.token.refresh_token as string));
              expect(valid.size).toBeLessThanOrEqual(1);
              for (const token of valid) {
                const newest = session.texts.length - 1;
                if (session.texts[newest] === "") session.texts[newest] = token;
                expect(token).toBe(session.texts[newest]);
                session.access = gave[0]!.body.token.access_token;
              }
            }
          }
        }
        for (const session of model.sessions) {
          const { status } = await self.call(`/agents/${agent.id}`, { token: session.access });
          // Nothing takes longer than an access token lives.
          if (decodeJwt(session.access).exp! * 1000 > Date.now()) {
            expect([session.id, status]).toEqual([session.id, model.stands(session) ? 200 : 401]);
          }
        }
      }),
      { numRuns, examples },
    );
  }
});

describe("the decision", () => {
  const record = (changes: Partial<SessionRecord>): SessionRecord => ({
    agent: { id: "agt_a", status: "active", tokenVersion: 2 } as SessionRecord["agent"],
    id: "ses_a",
    version: 2,
    generation: 5,
    hash: "h5",
    pepperId: "1",
    previousHash: "h4",
    previousPepperId: "1",
    wasRotated: true,
    wasPreviouslyRotated: true,
    expiresAt: 50_000,
    absoluteExpiresAt: 100_000,
    authTime: 0,
    scope: null,
    tokenTtl: null,
    endedAt: null,
    boundTo: null,
    isAllowed: true,
    now: 20_000,
    step: "none",
    ...changes,
  });

  it.each<[string, SessionRecord | undefined, number, string]>([
    ["the present one from an address that is not allowed", record({ isAllowed: false }), 5, "address_refused"],
    ["one within the grace from such an address", record({ isAllowed: false }), 4, "address_refused"],
    ["no session", undefined, 5, "unknown"],
    ["a token that was replaced", record({ step: "rotated" }), 5, "rotated"],
    ["one whose session was ended for it", record({ step: "reused" }), 3, "reused"],
    ["the generation before, and nothing was written", record({}), 4, "replayed"],
    ["another token of the generation before", record({ previousHash: "other" }), 4, "unknown"],
    ["one before that", record({}), 3, "replayed"],
    ["an even older one, and nothing was written", record({}), 2, "unknown"],
    ["a generation that is not there yet", record({}), 6, "unknown"],
    ["the generation before, replaced in the database's future", record({ wasRotated: false }), 4, "unknown"],
    ["one before that, replaced in its future", record({ wasPreviouslyRotated: false }), 3, "unknown"],
    ["the present one, and nothing was written: it expired between two statements", record({}), 5, "expired"],
    ["another token of the present generation", record({ hash: "other" }), 5, "unknown"],
    ["an expired one", record({ expiresAt: 20_000 }), 5, "expired"],
    ["one of a session that expired", record({ absoluteExpiresAt: 20_000 }), 4, "expired"],
    ["one of a session that was ended", record({ endedAt: 5 }), 5, "ended"],
    ["an older one of a session that was ended", record({ endedAt: 5 }), 4, "ended"],
    ["one of a session of an older token version", record({ version: 1 }), 5, "ended"],
    ["one of an agent that is not active", record({ agent: { ...record({}).agent, status: "inactive" } }), 5, "ended"],
  ])("on %s", (_, given, generation, outcome) => {
    expect(decideRefresh(given, { generation, hash: `h${generation}` }).outcome).toBe(outcome);
  });

  it.each<[string, SessionRecord["boundTo"], string | null, boolean, string]>([
    ["a session of no key", null, "other", false, "replayed"],
    ["a session of no key, whose agent needs one by now", null, "other", true, "ended"],
    ["a session of a key", "own", "own", true, "replayed"],
    ["a session of a key, without a proof", "own", null, false, "other_key"],
    ["a session of a key, with a proof of another", "own", "other", false, "other_key"],
  ])("on the answer that is asked for again in %s", (_, boundTo, proven, requiresDpop, outcome) => {
    const given = record({ boundTo, agent: { ...record({}).agent, requiresDpop } });
    for (const generation of [4, 3]) {
      expect(decideRefresh(given, { generation, hash: `h${generation}` }, proven).outcome).toBe(outcome);
    }
  });

  it("gives the valid token again only if the session still has it, and its peppers are there", async () => {
    const peppers: Peppers = [
      { id: "2", secret: "two".repeat(16) },
      { id: "1", secret: "one".repeat(16) },
    ];
    const first = await firstRefreshToken("ses_a", peppers[1]!);
    const second = await nextRefreshToken(first, peppers[1]!);
    const third = await nextRefreshToken(second, peppers[0]);
    const given = record({
      hash: third.hash,
      pepperId: "2",
      previousHash: second.hash,
      previousPepperId: "1",
    });
    expect((await deriveForward(first, 2, given, peppers))?.text).toBe(third.text);
    expect((await deriveForward(second, 1, given, peppers))?.text).toBe(third.text);
    expect(await deriveForward(first, 2, { ...given, previousHash: "other" }, peppers)).toBeUndefined();
    expect(await deriveForward(first, 2, { ...given, hash: "other" }, peppers)).toBeUndefined();
    expect(await deriveForward(second, 1, { ...given, hash: "other" }, peppers)).toBeUndefined();
    expect(await deriveForward(first, 2, given, [peppers[0]])).toBeUndefined();
    expect(await deriveForward(second, 1, given, [peppers[1]!])).toBeUndefined();
  });
});
