import { describe, expect, inject, it } from "vitest";
import { bodyTimer } from "../../../src/http/body-timer.ts";
import { watchCaller, type CallerWatch } from "../../../src/gateway/caller-watch.ts";
import { secretEncodings } from "../../../src/gateway/upstream/secret-leak.ts";
import { streamBody } from "../../../src/gateway/upstream/stream-body.ts";
import { readWholeBody } from "../../../src/gateway/request-body.ts";
import { startUpload } from "../../../src/gateway/upstream/upload.ts";
import { unauthorized } from "../../../src/http/errors.ts";
import { receiveBody } from "../../../src/http/validation.ts";
import { manualTimers } from "../../support/manual-timers.ts";

const LIMITS = { idleMs: 60_000, totalMs: 600_000 };
const bytes = (text: string) => new TextEncoder().encode(text);
const refusal = unauthorized("token_revoked", "ended");
const trusted: CallerWatch = { start: () => () => undefined, confirm: async () => undefined };

/** A body that the test writes piece by piece. */
function heldBody() {
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  return { body: readable, writer, write: (text: string) => writer.write(bytes(text)), end: () => writer.close() };
}

const textOf = (body: ReadableStream) => new Response(body).text();

describe("a request body's timer", () => {
  it("gives a silent sender up after the idle limit, and a slow one after the whole limit", async () => {
    const timers = manualTimers();
    const silent = bodyTimer(LIMITS, timers.start).read(new Promise(() => undefined));
    timers.advance(59_999);
    timers.advance(1);
    await expect(silent).rejects.toMatchObject({ status: 408, code: "body_timeout" });

    const slow = bodyTimer(LIMITS, timers.start);
    for (let second = 0; second < 590; second += 59) {
      const { promise, resolve } = Promise.withResolvers<string>();
      const reading = slow.read(promise);
      timers.advance(59_000);
      resolve("a piece");
      expect(await reading).toBe("a piece");
    }
    timers.advance(10_000);
    await expect(slow.read(Promise.resolve("more"))).rejects.toMatchObject({ status: 408 });
  });

  it("leaves no timer behind", async () => {
    const timers = manualTimers();
    const timer = bodyTimer(LIMITS, timers.start);
    await timer.read(Promise.resolve());
    timer.stop();
    expect(timers.pending()).toBe(0);
  });
});

describe("a body that is read whole", () => {
  it("is cancelled when it takes too long, on the gateway and on AgentAuth's own endpoints", async () => {
    for (const read of [
      (body: ReadableStream, start: ReturnType<typeof manualTimers>["start"]) =>
        readWholeBody(body, 1000, LIMITS, start).catch((cause: unknown) => cause),
      async (body: ReadableStream, start: ReturnType<typeof manualTimers>["start"]) => {
        const received = await receiveBody(new Request("https://a.example/", { method: "POST", body }), start);
        return "fault" in received ? received.fault : received.text;
      },
    ]) {
      const timers = manualTimers();
      const held = heldBody();
      const reading = read(held.body, timers.start);
      await held.write("{");
      timers.advance(60_000);
      expect(await reading).toMatchObject({ status: 408, code: "body_timeout" });
      expect(timers.pending()).toBe(0);
      await expect(held.write("}")).rejects.toThrow();
    }
  });

  it("comes as it was, or not at all if it is too long", async () => {
    const stream = (text: string) => new Response(text).body!;
    expect(new TextDecoder().decode(await readWholeBody(stream("x".repeat(1000)), 1000, LIMITS))).toHaveLength(1000);
    expect(await readWholeBody(stream("x".repeat(1001)), 1000, LIMITS)).toBeUndefined();
  });
});

describe("a streamed upload", () => {
  it("arrives whole, with its length if that is declared", async () => {
    for (const length of [undefined, 300_000]) {
      const text = "0123456789".repeat(30_000);
      const upload = startUpload(new Response(text).body!, length, trusted, LIMITS);
      expect(await textOf(upload.body)).toBe(text);
      await upload.sent;
    }
  });

  it("keeps its last piece back until its caller is confirmed", async () => {
    const order: string[] = [];
    const { promise: confirmed, resolve: confirm } = Promise.withResolvers<void>();
    const caller: CallerWatch = {
      ...trusted,
      confirm() {
        order.push("asked");
        return confirmed;
      },
    };
    const held = heldBody();
    const upload = startUpload(held.body, undefined, caller, LIMITS);
    const reader = upload.body.getReader();
    void held
      .write("first")
      .then(() => held.write("last"))
      .then(() => held.end());
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("first");
    const last = reader.read().then(({ value }) => order.push(new TextDecoder().decode(value)));
    await scheduler.wait(10);
    expect(order).toEqual(["asked"]);
    confirm();
    await last;
    expect(order).toEqual(["asked", "last"]);
    expect((await reader.read()).done).toBe(true);
  });

  it("breaks off when its caller is not confirmed, and says why", async () => {
    const caller: CallerWatch = { ...trusted, confirm: () => Promise.reject(refusal) };
    const held = heldBody();
    const upload = startUpload(held.body, undefined, caller, LIMITS);
    const received = textOf(upload.body).catch(() => "broken off");
    await held.write("whole");
    void held.end().catch(() => undefined);
    await expect(upload.refused).rejects.toBe(refusal);
    expect(await received).toBe("broken off");
  });

  it.each([undefined, 100])("that breaks off is not whole to its upstream, length %s", async (length) => {
    const caller: CallerWatch = { ...trusted, confirm: () => Promise.reject(refusal) };
    const name = `broken-${crypto.randomUUID()}`;
    const held = heldBody();
    const upload = startUpload(held.body, length, caller, LIMITS);
    const init = { method: "POST", body: upload.body, signal: upload.signal };
    const sending = fetch(`${inject("upstream")}/hooks/${name}/200`, init).catch(() => "broken off");
    await held.write("x".repeat(50));
    await held.write("x".repeat(50));
    void held.end().catch(() => undefined);
    expect(await sending).toBe("broken off");
    const arrived = await fetch(`${inject("upstream")}/hooks/${name}`);
    expect(await arrived.json()).toEqual([]);
  });

  it.each(["sends", "reads"])("breaks off within a minute of its caller's end, while nobody %s", async (who) => {
    const timers = manualTimers();
    let ended = false;
    const watch = watchCaller(
      { checkedAt: Date.now(), maxAge: 5000, check: () => (ended ? Promise.reject(refusal) : Promise.resolve()) },
      timers.start,
    );
    const held = heldBody();
    const upload = startUpload(held.body, undefined, watch, { idleMs: 1e9, totalMs: 1e9 }, timers.start);
    const received = who === "sends" ? textOf(upload.body).catch(() => "broken off") : undefined;
    const writing = held.write("a").then(() => (who === "reads" ? held.write("b") : undefined));
    if (who === "sends") await writing;
    timers.advance(60_000);
    await scheduler.wait(5);
    ended = true;
    timers.advance(60_000);
    await expect(upload.refused).rejects.toBe(refusal);
    await upload.sent;
    if (received) expect(await received).toBe("broken off");
    await expect(held.write("more")).rejects.toThrow();
    expect(timers.pending()).toBe(0);
  });

  it("breaks off with 408 for a sender that goes silent", async () => {
    const timers = manualTimers();
    const held = heldBody();
    const upload = startUpload(held.body, undefined, trusted, LIMITS, timers.start);
    const received = textOf(upload.body).catch(() => "broken off");
    await held.write("a");
    await scheduler.wait(1);
    timers.advance(60_000);
    await expect(upload.refused).rejects.toMatchObject({ status: 408 });
    expect(await received).toBe("broken off");
  });
});

describe("the watch over a caller", () => {
  it("asks before a body's end only where that was not done within the bound", async () => {
    let asked = 0;
    const check = async () => void asked++;
    await watchCaller({ checkedAt: Date.now(), maxAge: 5000, check }).confirm();
    expect(asked).toBe(0);
    const old = watchCaller({ checkedAt: Date.now() - 5001, maxAge: 5000, check });
    await old.confirm();
    await old.confirm();
    expect(asked).toBe(1);
    // Asked in the future: a clock that was set back makes nothing recent.
    await watchCaller({ checkedAt: Date.now() + 60_000, maxAge: 5000, check }).confirm();
    expect(asked).toBe(2);
  });
});

describe("a streamed answer", () => {
  const SECRET = "0123456789abcdef-credential";

  it.each<[string, string, readonly string[], number, boolean]>([
    ["that is passed as it is", "endless", [], Infinity, true],
    ["that is passed as it is, and falls silent,", "no-body", [], Infinity, true],
    ["that is passed as it is, and that nobody reads,", "endless", [], Infinity, false],
    ["that is searched", "endless", [SECRET], Infinity, true],
    ["that is searched, and falls silent,", "no-body", [SECRET], Infinity, true],
    ["that is searched, and that nobody reads,", "endless", [SECRET], Infinity, false],
    ["of which only the beginning is searched", "endless", [SECRET], 10, true],
  ])("%s is cut within a minute of its caller's end", async (_, kind, secrets, searched, isRead) => {
    const timers = manualTimers();
    let ended = false;
    const watch = watchCaller(
      { checkedAt: Date.now(), maxAge: 5000, check: () => (ended ? Promise.reject(refusal) : Promise.resolve()) },
      timers.start,
    );
    const upstream = await fetch(`${inject("upstream")}/hooks/watch-${crypto.randomUUID()}/${kind}`, {
      method: "POST",
    });
    const { readable, writable } = new IdentityTransformStream();
    const done = streamBody(upstream.body!, writable, {
      secretEncodings: secretEncodings(secrets),
      links: undefined,
      searched,
      watch: watch.start,
    });
    const received = isRead ? readable.pipeTo(new WritableStream()).catch(() => "broken off") : undefined;
    timers.advance(60_000);
    await scheduler.wait(20);
    ended = true;
    timers.advance(60_000);
    expect(await done).toBe("caller_ended");
    if (received) expect(await received).toBe("broken off");
    else await expect(textOf(readable)).rejects.toThrow();
    expect(timers.pending()).toBe(0);
  });

  it("that ends by itself leaves no timer behind", async () => {
    const timers = manualTimers();
    const watch = watchCaller({ checkedAt: Date.now(), maxAge: 5000, check: async () => undefined }, timers.start);
    for (const secrets of [[], [SECRET]]) {
      const { readable, writable } = new IdentityTransformStream();
      const done = streamBody(new Response("short").body!, writable, {
        secretEncodings: secretEncodings(secrets),
        links: undefined,
        watch: watch.start,
      });
      expect(await textOf(readable)).toBe("short");
      expect(await done).toBeUndefined();
      expect(timers.pending()).toBe(0);
    }
  });
});
