import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readRetryAfter } from "../../src/validation/retry-after.ts";
import { hopSeconds, nextStep, SCHEDULE } from "../../src/webhooks/schedule.ts";

const NOW = Date.UTC(2026, 10, 24);
const MINUTES = [0, 5 / 60, 5, 30, 120, 300, 600, 840, 1200, 1440];

describe("the schedule of a delivery", () => {
  it("is the one of Standard Webhooks: at once, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h", () => {
    expect(SCHEDULE.map((ms) => ms / 60_000)).toEqual(MINUTES);
  });

  it("is kept by deliveries that fail, within a tenth either way, and ends after its last attempt", () => {
    const status = fc.integer({ min: 100, max: 599 }).filter((code) => (code < 200 || code > 299) && code !== 410);
    const result = fc.oneof(
      status.map((code) => ({ status: code })),
      fc.constant({ error: "the connection failed" }),
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        result,
        fc.double({ min: 0, max: 1, noNaN: true }),
        (n, was, random) => {
          const next = nextStep(n, was, NOW, random);
          if (n >= SCHEDULE.length) {
            expect(next).toEqual({ step: "failed", gone: false });
            return;
          }
          expect(next.step).toBe("retry");
          const waited = next.step === "retry" ? next.at - NOW : NaN;
          expect(Math.abs(waited - SCHEDULE[n]!)).toBeLessThanOrEqual(SCHEDULE[n]! * 0.1 + 1);
        },
      ),
    );
  });

  it("waits longer where the receiver asks for it, never shorter, and not for ever", () => {
    const at = (retryAfter: number) => {
      const next = nextStep(1, { status: 503, retryAfter }, NOW, 0.5);
      return next.step === "retry" ? (next.at - NOW) / 1000 : next.step;
    };
    expect(at(60_000)).toBe(60);
    expect(at(1000)).toBe(5);
    expect(at(365 * 86_400_000)).toBe(86_400);
  });

  it.each([200, 201, 204, 299])("is over when the receiver answers %i", (status) => {
    expect(nextStep(3, { status }, NOW, 0.5)).toEqual({ step: "succeeded" });
  });

  it.each([301, 302, 303, 307, 308])("takes the redirect %i for a failure", (status) => {
    expect(nextStep(1, { status }, NOW, 0.5).step).toBe("retry");
  });

  it("ends at once with 410, and where no other attempt can go better", () => {
    expect(nextStep(1, { status: 410 }, NOW, 0.5)).toEqual({ step: "failed", gone: true });
    expect(nextStep(1, { error: "not sent", final: true }, NOW, 0.5)).toEqual({ step: "failed", gone: false });
  });
});

describe("a wait", () => {
  it("is taken in hops of at most twelve hours, which add up to it", () => {
    fc.assert(
      fc.property(fc.integer({ min: -1000, max: 30 * 3_600_000 }), (wait) => {
        const dueAt = NOW + wait;
        let now = NOW;
        for (let hops = 0; now < dueAt; hops++) {
          const hop = hopSeconds(dueAt, now);
          expect(hop).toBeGreaterThan(0);
          expect(hop).toBeLessThanOrEqual(12 * 3600);
          expect(hops).toBeLessThan(3);
          now += hop * 1000;
        }
        expect(hopSeconds(dueAt, now)).toBe(0);
        expect(now - Math.max(dueAt, NOW)).toBeLessThan(1000);
      }),
    );
  });
});

describe("Retry-After", () => {
  it.each([
    ["7", 7000],
    [" 120 ", 120_000],
    ["0", 0],
    [new Date(NOW + 90_000).toUTCString(), 90_000],
    [new Date(NOW - 90_000).toUTCString(), 0],
    ["soon", undefined],
    ["99999999999999999999", 1e23],
    ["", undefined],
    [null, undefined],
  ])("%j is %j ms", (value, expected) => {
    expect(readRetryAfter(value, NOW)).toBe(expected);
  });
});
