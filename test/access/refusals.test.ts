import { describe, expect, it } from "vitest";
import type { Caller } from "../../src/access/authenticate.ts";
import { countRefusedSignIn, isRecorded, markRecorded, recordRefusal } from "../../src/access/refusals.ts";
import type { AuditMessage } from "../../src/audit/message.ts";
import { ApiError } from "../../src/http/errors.ts";
import type { RequestContext } from "../../src/http/request-context.ts";
import { rememberAgent } from "../../src/log/request-log.ts";
import { delegated } from "../oauth/exchange.ts";
import { world, type World } from "../support/world.ts";

const NOW = Date.parse("2026-03-01T10:00:00Z");

/** A request to an isolate that has counted nothing yet, and what it sends to the audit log. */
function refused() {
  const sent: AuditMessage[] = [];
  const ACTIVITY = { send: async (message: AuditMessage) => void sent.push(message) };
  const request = new Request("https://auth.example.com/agents?token=hunter2", { method: "DELETE" });
  const known = { request, requestId: "request", ipAddress: "2001:db8::7", now: NOW };
  const context = { ...known, env: { ACTIVITY }, waitUntil: () => {} } as unknown as RequestContext;
  return { context, request, sent, counted: () => countedBy(sent) };
}

const countedBy = (sent: readonly AuditMessage[]) =>
  sent.flatMap((message) => (message.kind === "refusals" ? message.refusals : []));

const caller = {
  agent: { id: "agt_1", name: "one" },
  claims: { sub: "agt_1", delegation: null, links: [{ agentId: "agt_1", version: 1, basis: { sessionId: "ses_1" } }] },
  keyId: "key_1",
} as unknown as Caller;

const forbidden = () => new ApiError("insufficient_permissions", "No.", { extra: { required: "lab:things:write" } });

describe("a request that is refused", () => {
  it("is a record of the agent that was admitted, once", () => {
    const one = refused();
    const error = forbidden();
    expect(isRecorded(error)).toBe(false);
    recordRefusal(one.context, error, caller);
    expect(one.sent).toMatchObject([
      { kind: "record", entry: { action: "request.refused", agentId: "agt_1", status: 403, sessionId: "ses_1" } },
    ]);
    expect(isRecorded(markRecorded(error))).toBe(true);
    recordRefusal(one.context, error, caller);
    recordRefusal(one.context, markRecorded(new ApiError("missing_token", "None.")), undefined);
    expect(one.sent).toHaveLength(1);
  });

  it("is no record if it is malformed, and nothing at all if it has failed", () => {
    const one = refused();
    recordRefusal(one.context, new ApiError("validation_error", "What?"), caller);
    for (const who of [caller, undefined]) recordRefusal(one.context, new Error("lost"), who);
    expect(one.sent).toEqual([]);
  });

  it("counts for the network of its address if nobody has proved to be its sender", () => {
    const one = refused();
    recordRefusal(one.context, new ApiError("missing_token", "None."), undefined);
    expect(one.counted()).toMatchObject([
      {
        subject: "2001:db8:0:0::/64",
        code: "missing_token",
        agentId: "",
        count: 1,
        entry: { actor: null, ipAddress: "2001:db8::7", requestId: "request", method: "DELETE", path: "/agents" },
      },
    ]);
  });

  it("counts for the agent that has proved itself as a client, and for nobody's session", () => {
    const one = refused();
    rememberAgent(one.request, "agt_1");
    recordRefusal(one.context, new ApiError("invalid_token", "No."), undefined);
    const actor = { type: "agent", id: "agt_1", name: null };
    expect(one.counted()).toMatchObject([
      { subject: "agt_1", agentId: "agt_1", entry: { actor, act: [], sessionId: null, keyId: null } },
    ]);
  });

  it("counts for the session of a token that was revoked", async () => {
    const self = world();
    const { id, token } = await self.agent();
    await self.call("/agents/revoke-tokens", { method: "POST", token });
    const [count] = await countOf(`/agents/${id}`, token);
    const { sessionId } = count!.entry;
    expect(sessionId).toMatch(/^ses_/);
    expect(count).toMatchObject({ subject: sessionId, code: "token_revoked", agentId: id, entry: { keyId: null } });
  });

  it("counts for the key of the agent that sends a delegated token, with those that it acts for", async () => {
    const self = world();
    const [subject, actor] = [await self.agent(), await self.agent()];
    const token = await delegated(self, actor, subject.token);
    const [count] = await countOf(`/agents/${subject.id}`, token);
    const { keyId } = count!.entry;
    expect(keyId).toMatch(/^key_/);
    expect(count).toMatchObject({ subject: keyId, code: "delegated_token", agentId: actor.id });
    expect(count!.entry).toMatchObject({
      actor: { type: "agent", id: actor.id },
      act: [{ sub: actor.id }, { sub: subject.id }],
      sessionId: null,
    });
  });
});

/** What a Worker that has counted nothing yet counts for a request that it refuses. */
async function countOf(path: string, token: string, fresh: World = world()) {
  expect((await fresh.call(path, { token })).status).toBeGreaterThanOrEqual(401);
  return countedBy(fresh.sent);
}

describe("a sign-in that is refused", () => {
  it("counts for the person whose it is, or else for the network of its address", () => {
    for (const [personId, subject, actor] of [
      ["per_1", "per_1", { type: "person", id: "per_1", name: null }],
      [null, "2001:db8:0:0::/64", null],
    ] as const) {
      const one = refused();
      countRefusedSignIn(one.context, personId, "a passkey that is not known");
      expect(one.counted()).toMatchObject([
        {
          subject,
          code: "a passkey that is not known",
          entry: { action: "person.sign_in_refused", status: 401, actor, path: "/agents" },
        },
      ]);
      expect(JSON.stringify(one.sent)).not.toContain("hunter2");
    }
  });
});
