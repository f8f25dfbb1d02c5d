import { afterAll, describe, expect, it, vi } from "vitest";
import fc from "fast-check";
import type { RefreshRecord } from "../../src/tokens/records.ts";
import { decideRefresh } from "../../src/tokens/refresh.ts";
import { extents } from "../support/extents.ts";
import { world, type Registered, type World } from "../support/world.ts";

const GRACE = 10;
const TTL = 300;
const FAMILY = 900;
const SETTINGS = {
  REFRESH_GRACE_SECONDS: String(GRACE),
  REFRESH_TOKEN_TTL_SECONDS: String(TTL),
  REFRESH_FAMILY_TTL_SECONDS: String(FAMILY),
};

/** One step of a history: which session, which of its tokens counted from the newest, how many at once. */
type Step =
  | { readonly do: "refresh"; readonly session: number; readonly back: number; readonly times: number }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "verify" | "revoke_tokens" | "suspend" | "activate" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("refresh" as const),
      session: fc.constantFrom(0, 0, 0, 1, 2),
      back: fc.constantFrom(0, 0, 0, 1, 1, 2, 3),
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
      ms: fc.constantFrom(1, 9_999, 10_000, 10_000, 10_001, 60_000, 299_999, 300_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom("verify", "suspend", "activate", "revoke_tokens").map((what) => ({ do: what })),
  },
);

interface Session {
  readonly born: number;
  readonly tokens: { text: string; expires: number; used: number | null }[];
  ended: boolean;
}

/** The contract of an agent's sessions as a model without a database. */
class Model {
  readonly sessions: Session[] = [];
  active = true;

  open(text: string, now: number): void {
    this.sessions.push({ born: now, tokens: [{ text, expires: now + TTL * 1000, used: null }], ended: false });
  }

  endAll(): void {
    for (const session of this.sessions) session.ended = true;
  }

  refresh(session: Session, at: number, now: number): "rotated" | "replayed" | "refused" {
    const token = session.tokens[at]!;
    const familyExpires = session.born + FAMILY * 1000;
    if (session.ended || now >= familyExpires) return "refused";
    if (token.used !== null) {
      if (now - token.used <= GRACE * 1000) return "replayed";
      session.ended = true;
      return "refused";
    }
    if (now >= token.expires) return "refused";
    token.used = now;
    return "rotated";
  }
}

async function verify(self: World, { id, apiKey }: Registered): Promise<string | undefined> {
  const { body } = await self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
  return body.token?.refresh_token;
}

describe("any history of refreshes, replays, revocations and time", () => {
  afterAll(() => void vi.useRealTimers());

  for (const { numRuns, options } of extents(20, 200)) {
    it(`comes to what the model says, step by step, in ${numRuns} histories`, options, () => compare(numRuns));
  }

  async function compare(numRuns: number): Promise<void> {
    vi.useFakeTimers({ toFake: ["Date"] });
    const unlimited = { limit: async () => ({ success: true }) };
    const self = world({ ...SETTINGS, RATE_FREE: unlimited, RATE_ENTERPRISE: unlimited, RATE_ADDRESS: unlimited });
    const admin = await self.admin();
    const adminToken = async () => {
      const { body } = await self.call("/agents/verify", {
        method: "POST",
        json: { agent_id: admin.id, api_key: admin.apiKey },
      });
      return body.token.access_token as string;
    };

    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 24 }), async (history) => {
        const agent = await self.agent();
        const model = new Model();
        model.open(agent.refreshToken, Date.now());
        for (const one of history) {
          switch (one.do) {
            case "wait":
              vi.setSystemTime(Date.now() + one.ms);
              break;
            case "verify": {
              const token = await verify(self, agent);
              expect(token !== undefined).toBe(model.active);
              if (token) model.open(token, Date.now());
              break;
            }
            case "revoke_tokens": {
              // Every way that ends all tokens writes the same column; this one needs no session of the agent itself.
              const path = `/agents/${agent.id}/rotate-key`;
              const rotated = await self.call(path, {
                method: "POST",
                token: await adminToken(),
                json: { overlap_seconds: 0 },
              });
              agent.apiKey = rotated.body.credentials.api_key;
              model.endAll();
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
              if (status === "suspended") model.endAll();
              model.active = status === "active";
              break;
            }
            case "refresh": {
              const session = model.sessions[one.session % model.sessions.length]!;
              const at = Math.max(0, session.tokens.length - 1 - one.back);
              const text = session.tokens[at]!.text;
              const expected = Array.from({ length: one.times }, () => model.refresh(session, at, Date.now()));
              const answers = await Promise.all(
                expected.map(() => self.call("/agents/refresh", { method: "POST", json: { refresh_token: text } })),
              );
              const gave = answers.filter(({ status }) => status === 200);
              expect(gave.length).toBe(expected.filter((outcome) => outcome !== "refused").length);
              const successors = new Set(gave.map(({ body }) => body.token.refresh_token as string));
              expect(successors.size).toBeLessThanOrEqual(1);
              for (const successor of successors) {
                const known = session.tokens[at + 1];
                if (known) expect(successor).toBe(known.text);
                else {
                  const expires = Math.min(Date.now() + TTL * 1000, session.born + FAMILY * 1000);
                  session.tokens.push({ text: successor, expires, used: null });
                }
              }
            }
          }
          // At any time, a session has at most one token that was not used: it never forks.
          const { results } = await self.env.DB.prepare(
            `SELECT COUNT(*) AS unused FROM refresh_tokens t JOIN refresh_families f ON f.id = t.family_id
             WHERE f.agent_id = ?1 AND t.used_at IS NULL GROUP BY f.id`,
          )
            .bind(agent.id)
            .all<{ unused: number }>();
          expect(results.every(({ unused }) => unused === 1)).toBe(true);
        }
      }),
      { numRuns },
    );
  }
});

describe("the decision", () => {
  const record = (changes: Partial<RefreshRecord>): RefreshRecord => ({
    agent: { id: "agt_a", status: "active", notBefore: 0 } as RefreshRecord["agent"],
    sessionId: "fam_a",
    sessionExpiresAt: 100_000,
    sessionRevokedAt: null,
    sessionIssuedAt: 0,
    tokenExpiresAt: 50_000,
    usedAt: null,
    now: 20_000,
    step: "none",
    ...changes,
  });

  it.each<[string, RefreshRecord | undefined, string]>([
    ["no token", undefined, "unknown"],
    ["one that was spent", record({ step: "rotated" }), "rotated"],
    ["one whose session was ended for it", record({ step: "reused", usedAt: 9_999 }), "reused"],
    ["used, and nothing was written", record({ usedAt: 10_000 }), "replayed"],
    ["unused, and nothing was written", record({ tokenExpiresAt: 20_000 }), "expired"],
    ["unused, and it expired between two statements", record({ tokenExpiresAt: 20_001 }), "expired"],
    ["of an expired family", record({ sessionExpiresAt: 20_000 }), "expired"],
    ["used longer ago, of an expired family", record({ usedAt: 1, sessionExpiresAt: 20_000 }), "expired"],
    ["of a revoked family", record({ sessionRevokedAt: 5 }), "ended"],
    ["used, of a revoked family", record({ sessionRevokedAt: 5, usedAt: 19_999 }), "ended"],
    [
      "of a session from before the agent's not-before",
      record({ agent: { ...record({}).agent, notBefore: 1 } }),
      "ended",
    ],
    ["of an agent that is not active", record({ agent: { ...record({}).agent, status: "inactive" } }), "ended"],
  ])("on %s", (_, given, outcome) => {
    expect(decideRefresh(given).outcome).toBe(outcome);
  });
});
