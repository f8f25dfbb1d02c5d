import { beforeAll, describe, expect, it, vi } from "vitest";
import { setTier } from "../../src/agents/change.ts";
import { AuthorityLostError } from "../../src/authority/authority.ts";
import { SYSTEM_ORIGIN, type AuditEntry } from "../../src/outbox/record.ts";
import { MAX_REFUSALS_PER_MINUTE } from "../../src/tokens/store/refusals.ts";
import { WRONG_API_KEY } from "../support/secrets.ts";
import { world, type Registered } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const self = world();
let admin: Registered;

beforeAll(async () => {
  admin = await self.admin();
});

/** What the outbox of the audit log holds about an agent, the oldest first. */
async function outboxOf(agentId: string): Promise<AuditEntry[]> {
  const { results } = await self.env.DB.prepare("SELECT entry FROM audit_outbox WHERE agent_id = ? ORDER BY id")
    .bind(agentId)
    .all<{ entry: string }>();
  return results.map(({ entry }) => JSON.parse(entry) as AuditEntry);
}

/** The one entry of an action that an agent has. */
async function entryOf(agentId: string, action: AuditEntry["action"]): Promise<AuditEntry> {
  const entries = (await outboxOf(agentId)).filter((entry) => entry.action === action);
  expect(entries.map(({ action: one }) => one)).toEqual([action]);
  return entries[0]!;
}

const as = (who: Registered) => (method: string, path: string, json?: unknown) =>
  self.call(path, { method, token: who.token, ip: "192.0.2.9", ...(json !== undefined && { json }) });

/** Whom a record names as the one who acted. */
const actorOf = ({ id }: Registered) => ({ type: "agent", id, name: expect.stringMatching(/^agent \d+$/) });

describe("a change of an agent", () => {
  it("says who registered it, with what, and from where; no secret is in it", async () => {
    const agent = await self.agent(["lab:things:read"]);
    const registered = await entryOf(agent.id, "agent.registered");
    expect(registered).toMatchObject({
      part: "whole",
      outcome: "success",
      actor: null,
      before: null,
      after: { permissions: ["lab:things:read"], owner_email: "owner@example.com", status: "active" },
      ipAddress: expect.stringMatching(/^10\./),
      requestId: expect.any(String),
    });
    const byBootstrap = await entryOf(admin.id, "agent.registered");
    expect(byBootstrap).toMatchObject({
      actor: { type: "bootstrap", id: null, name: null },
      after: { permissions: ["*:*:*"] },
    });
    const json = { name: "by an agent", owner_email: "owner@example.com", permissions: [] };
    const { body } = await as(admin)("POST", "/agents/register", { ...json, permissions: ["lab:things:read"] });
    const byAgent = await entryOf(body.agent.agent_id, "agent.registered");
    expect(byAgent).toMatchObject({ actor: actorOf(admin), sessionId: expect.stringMatching(/^ses_/) });
    expect(JSON.stringify(await outboxOf(body.agent.agent_id))).not.toContain(body.credentials.api_key);
    expect(JSON.stringify(await outboxOf(agent.id))).not.toContain(agent.apiKey);
  });

  it("has what was before and what is now, and who did it", SLOW, async () => {
    const agent = await self.agent(["lab:things:read"]);
    const path = `/agents/${agent.id}`;
    await as(admin)("PUT", `${path}/tier`, { tier: "pro" });
    await as(admin)("PUT", `${path}/permissions`, { permissions: ["lab:notes:read"] });
    await as(admin)("PATCH", path, { name: "new name", allowed_ips: ["192.0.2.0/24"], metadata: { team: "a" } });
    await as(admin)("PUT", `${path}/status`, { status: "suspended" });
    await as(admin)("PUT", `${path}/status`, { status: "suspended" });
    for (const [action, before, after] of [
      ["agent.tier_updated", { tier: "free" }, { tier: "pro" }],
      ["agent.permissions_updated", { permissions: ["lab:things:read"] }, { permissions: ["lab:notes:read"] }],
      [
        "agent.updated",
        { name: expect.stringMatching(/^agent /), allowed_ips: null, metadata: null },
        { name: "new name", allowed_ips: ["192.0.2.0/24"], metadata: { team: "a" } },
      ],
      ["agent.status_updated", { status: "active" }, { status: "suspended" }],
    ] as const) {
      const entry = await entryOf(agent.id, action);
      expect(entry).toMatchObject({ actor: actorOf(admin), ipAddress: "192.0.2.9", before, after });
      expect(entry.message).toMatch(new RegExp(` by ${admin.id}$`));
    }
  });

  it("says the limits and the end of grants, before and now", SLOW, async () => {
    const agent = await self.agent(["lab:things:read"]);
    const grants = [{ permission: "lab:notes:read", expires_at: "2100-01-01T00:00:00.000Z" }];
    expect((await as(admin)("PUT", `/agents/${agent.id}/grants`, { grants })).status).toBe(200);
    const entry = await entryOf(agent.id, "agent.permissions_updated");
    expect(entry).toMatchObject({
      actor: actorOf(admin),
      before: { grants: [{ permission: "lab:things:read", where: null, expires_at: null }] },
      after: { grants: [{ permission: "lab:notes:read", where: null, expires_at: "2100-01-01T00:00:00.000Z" }] },
      message: `grants are lab:notes:read until 2100-01-01T00:00:00.000Z, set by ${admin.id}`,
    });

    // A grant that stays has its id before and now.
    const kept = [{ permission: "lab:things:read" }, ...grants];
    expect((await as(admin)("PUT", `/agents/${agent.id}/grants`, { grants: kept })).status).toBe(200);
    const { body } = await as(admin)("GET", `/agents/${agent.id}/grants`);
    const later = (await outboxOf(agent.id)).findLast(({ action }) => action === "agent.permissions_updated")!;
    const idsOf = (list: unknown) => (list as { grants: { id: string }[] }).grants.map(({ id }) => id);
    expect(idsOf(later.after)).toEqual(body.grants.map(({ id }: { id: string }) => id));
    expect(idsOf(later.after)).toContain(idsOf(later.before)[0]);
  });

  it("tells an approval from another activation", SLOW, async () => {
    const agent = await self.agent();
    await self.env.DB.prepare("UPDATE agents SET status = 'inactive' WHERE id = ?").bind(agent.id).run();
    await as(admin)("PUT", `/agents/${agent.id}/status`, { status: "active" });
    const approved = await entryOf(agent.id, "agent.approved");
    expect(approved).toMatchObject({ before: { status: "inactive" }, after: { status: "active" } });
    await as(admin)("PUT", `/agents/${agent.id}/status`, { status: "suspended" });
    await as(admin)("PUT", `/agents/${agent.id}/status`, { status: "active" });
    await entryOf(agent.id, "agent.approved");
    expect((await outboxOf(agent.id)).filter(({ action }) => action === "agent.status_updated")).toHaveLength(2);
  });

  it("outlives the agent: a deletion says what was deleted", async () => {
    const agent = await self.agent(["lab:things:read"]);
    await as(admin)("DELETE", `/agents/${agent.id}`);
    expect(await entryOf(agent.id, "agent.deleted")).toMatchObject({
      actor: actorOf(admin),
      before: { permissions: ["lab:things:read"], status: "active", tier: "free" },
    });
  });

  it("writes nothing for what is refused, unknown or unchanged", SLOW, async () => {
    const agent = await self.agent(["lab:things:read"]);
    const before = (await outboxOf(agent.id)).length;
    await as(agent)("PUT", `/agents/${agent.id}/tier`, { tier: "pro" });
    await as(admin)("PUT", `/agents/${agent.id}/tier`, { tier: "free" });
    await as(agent)("DELETE", `/agents/${agent.id}/keys/key_unknown`);
    await as(agent)("DELETE", `/agents/${agent.id}/sessions/ses_unknown`);
    await as(admin)("PUT", "/agents/agt_unknown/status", { status: "suspended" });
    expect(await outboxOf(agent.id)).toHaveLength(before);
    expect(await outboxOf("agt_unknown")).toEqual([]);
  });

  it("is one record for each agent of a bulk revocation", SLOW, async () => {
    const [one, two] = [await self.agent(), await self.agent()];
    for (const { id } of [one, two]) await as(admin)("PATCH", `/agents/${id}`, { owner_email: "bulk@example.com" });
    const filter = { owner_email: "bulk@example.com" };
    const revoked = await as(admin)("POST", "/agents/bulk-revoke", { filter, dry_run: false, expected: 2 });
    expect(revoked.body.revoked).toBe(2);
    const entries = await Promise.all([one, two].map(({ id }) => entryOf(id, "agent.status_updated")));
    expect(new Set(entries.flatMap(({ id, random }) => [id, random])).size).toBe(4);
    for (const [index, entry] of entries.entries()) {
      expect(entry).toMatchObject({
        agentId: [one, two][index]!.id,
        actor: actorOf(admin),
        before: { status: "active" },
        after: { status: "revoked" },
      });
    }
  });
});

describe("a change of keys, tokens and sessions", () => {
  it("names the key, and never says it", async () => {
    const agent = await self.agent();
    const created = await as(agent)("POST", `/agents/${agent.id}/keys`, { label: "ci", expires_in: 3600 });
    const { key, credentials } = created.body;
    await as(agent)("DELETE", `/agents/${agent.id}/keys/${key.id}`);
    const rotated = await as(agent)("POST", `/agents/${agent.id}/rotate-key`, { overlap_seconds: 60 });
    const said = { id: key.id, type: "secret", label: "ci", expires_at: key.expires_at, allowed_ips: null };
    expect(await entryOf(agent.id, "key.created")).toMatchObject({ before: null, after: said, actor: actorOf(agent) });
    expect(await entryOf(agent.id, "key.deleted")).toMatchObject({ before: said, after: null });
    expect(await entryOf(agent.id, "key.rotated")).toMatchObject({
      before: { key_ids: [expect.stringMatching(/^key_/)] },
      after: { key_id: expect.stringMatching(/^key_/), overlap_seconds: 60 },
    });
    const text = JSON.stringify(await outboxOf(agent.id));
    for (const secret of [credentials.api_key, rotated.body.credentials.api_key]) expect(text).not.toContain(secret);
  });

  it(
    "says with which key a token was issued, and in which session it is refreshed, used again and ended",
    SLOW,
    async () => {
      const agent = await self.agent();
      const issued = await entryOf(agent.id, "token.issued");
      expect(issued).toMatchObject({
        actor: actorOf(agent),
        keyId: expect.stringMatching(/^key_/),
        sessionId: expect.stringMatching(/^ses_/),
        outcome: "success",
      });
      const refresh = () =>
        self.call("/agents/refresh", { method: "POST", json: { refresh_token: agent.refreshToken }, ip: "192.0.2.8" });
      await refresh();
      // The answer again within the grace is no second refresh.
      await refresh();
      const { keyId, sessionId } = issued;
      expect(await entryOf(agent.id, "token.refreshed")).toMatchObject({
        actor: actorOf(agent),
        keyId,
        sessionId,
        ipAddress: "192.0.2.8",
      });
      await self.env.DB.prepare("UPDATE sessions SET rotated_at = rotated_at - 600000 WHERE id = ?")
        .bind(sessionId)
        .run();
      expect((await refresh()).body.code).toBe("refresh_token_reused");
      expect(await entryOf(agent.id, "token.reuse_detected")).toMatchObject({
        actor: null,
        keyId,
        sessionId,
        outcome: "denied",
      });
      expect(JSON.stringify(await outboxOf(agent.id))).not.toContain(agent.refreshToken);
    },
  );

  it("says which session ended, and that all tokens did, and by whom", async () => {
    const agent = await self.agent();
    const { sessionId } = await entryOf(agent.id, "token.issued");
    await as(admin)("DELETE", `/agents/${agent.id}/sessions/${sessionId}`);
    await as(admin)("DELETE", `/agents/${agent.id}/sessions/${sessionId}`);
    expect(await entryOf(agent.id, "session.ended")).toMatchObject({
      actor: actorOf(admin),
      before: { session_id: sessionId },
    });
    await as(admin)("POST", `/agents/${agent.id}/revoke-tokens`);
    expect(await entryOf(agent.id, "token.revoked")).toMatchObject({ message: `all tokens revoked by ${admin.id}` });
  });
});

describe("refused verifications", () => {
  const verify = (agent_id: string, api_key: string, ip: string) =>
    self.call("/agents/verify", { method: "POST", json: { agent_id, api_key }, ip });
  const refusedOf = async (id: string) => (await outboxOf(id)).filter(({ action }) => action === "token.refused");

  it(
    "of an agent are five records a minute, and one with the number of the others and their addresses",
    SLOW,
    async () => {
      vi.useFakeTimers({ toFake: ["Date"], now: Math.ceil(Date.now() / 60_000) * 60_000 });
      try {
        const agent = await self.agent();
        for (let n = 0; n < MAX_REFUSALS_PER_MINUTE; n++) await verify(agent.id, WRONG_API_KEY, "203.0.113.1");
        const own = await refusedOf(agent.id);
        expect(own).toHaveLength(MAX_REFUSALS_PER_MINUTE);
        for (const entry of own) {
          const about = { agentId: agent.id, outcome: "denied", actor: null, keyId: null, count: null };
          expect(entry).toMatchObject({ ...about, ipAddress: "203.0.113.1", message: "verification failed" });
        }
        const more = [2, 3, 2].map((n) => `203.0.113.${n}`);
        for (const ip of more) await verify(agent.id, WRONG_API_KEY, ip);
        const [counted, ...rest] = (await refusedOf(agent.id)).filter(({ count }) => count !== null);
        expect(rest).toEqual([]);
        expect(await refusedOf(agent.id)).toHaveLength(MAX_REFUSALS_PER_MINUTE + 1);
        expect(counted).toMatchObject({
          count: more.length,
          after: { addresses: ["203.0.113.2", "203.0.113.3"] },
          ipAddress: null,
          message: "3 more failed verifications from 2 addresses",
        });
        const events = await self.env.DB.prepare("SELECT count(*) AS n FROM events WHERE agent_id = ? AND event = ?")
          .bind(agent.id, "agent.verification_failed")
          .first("n");
        expect(events).toBe(MAX_REFUSALS_PER_MINUTE);
        vi.setSystemTime(Date.now() + 60_000);
        await verify(agent.id, WRONG_API_KEY, "203.0.113.1");
        expect((await refusedOf(agent.id)).at(-1)).toMatchObject({ count: null });
      } finally {
        vi.useRealTimers();
      }
    },
  );

  it("with the right key name it, and the agent; none of an agent that does not exist is about one", async () => {
    const agent = await self.agent();
    const { keyId } = await entryOf(agent.id, "token.issued");
    await as(admin)("PUT", `/agents/${agent.id}/status`, { status: "suspended" });
    expect((await verify(agent.id, agent.apiKey, "203.0.113.4")).body.code).toBe("agent_inactive");
    expect(await entryOf(agent.id, "token.refused")).toMatchObject({ actor: actorOf(agent), keyId });
    await verify("agt_nobody", WRONG_API_KEY, "203.0.113.4");
    expect(await outboxOf("agt_nobody")).toEqual([]);
    expect((await refusedOf("")).at(-1)).toMatchObject({ agentId: null, actor: null, ipAddress: "203.0.113.4" });
    // A scope that is too wide is no failed verification.
    const other = await self.agent();
    const json = { agent_id: other.id, api_key: other.apiKey, scope: "lab:notes:write" };
    expect((await self.call("/agents/verify", { method: "POST", json })).body.code).toBe("invalid_scope");
    expect(await refusedOf(other.id)).toEqual([]);
  });
});

describe("a change of a webhook", () => {
  it(
    "is about the agent whose webhook it is, and names an administrator that did it; neither secret nor URL is in it",
    SLOW,
    async () => {
      const agent = await self.agent();
      const url = "https://hooks.example.com/services/T0/hidden";
      const { webhook } = (await as(agent)("POST", "/webhooks", { url, events: ["agent.verified"] })).body;
      const path = `/webhooks/${webhook.id}`;
      await as(admin)("PUT", path, { url: "https://other.example.com/hidden", is_active: false });
      await as(admin)("PUT", path, { is_active: true });
      const regenerated = await as(agent)("POST", `${path}/regenerate-secret`, {});
      await as(agent)("POST", `${path}/test`);
      await as(admin)("DELETE", path);
      expect(await entryOf(agent.id, "webhook.created")).toMatchObject({
        message: `webhook ${webhook.id} registered`,
        after: { id: webhook.id, host: "example.com", events: ["agent.verified"], is_active: true, all_agents: false },
      });
      const [off, on] = (await outboxOf(agent.id)).filter(({ action }) => action === "webhook.updated");
      expect(off).toMatchObject({
        actor: actorOf(admin),
        message: `webhook ${webhook.id} changed by ${admin.id}`,
        before: { is_active: true },
        after: { is_active: false },
      });
      expect(on).toMatchObject({ before: { is_active: false }, after: { is_active: true } });
      await entryOf(agent.id, "webhook.secret_regenerated");
      await entryOf(agent.id, "webhook.tested");
      expect(await entryOf(agent.id, "webhook.deleted")).toMatchObject({ before: { id: webhook.id }, after: null });
      const text = JSON.stringify(await outboxOf(agent.id));
      for (const secret of ["hidden", webhook.secret, regenerated.body.webhook.secret])
        expect(text).not.toContain(secret);
    },
  );
});

it("is not written if the caller has lost its authority meanwhile", async () => {
  const agent = await self.agent();
  const by = { agentId: admin.id, basis: { sessionId: "ses_ended" }, version: 1, required: ["*:*:*"] };
  const change = { id: agent.id, by, origin: SYSTEM_ORIGIN, now: Date.now() };
  const before = await outboxOf(agent.id);
  await expect(setTier(self.env.DB, change, "pro")).rejects.toThrow(AuthorityLostError);
  expect(await outboxOf(agent.id)).toEqual(before);
});
