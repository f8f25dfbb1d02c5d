import { beforeAll, describe, expect, it } from "vitest";
import { Authenticator } from "../support/authenticator.ts";
import { countOperations } from "../support/count-operations.ts";
import { SLOW } from "../support/extents.ts";
import {
  callWith,
  cookieOf,
  enrol,
  firstAdministrator,
  invite,
  openLink,
  signIn,
  type SignedInPerson,
} from "../support/people.ts";
import { world } from "../support/world.ts";

const counter = countOperations();
const self = world(counter.overrides);
let admin: SignedInPerson;

beforeAll(async () => {
  admin = await firstAdministrator(self);
});

const post = (json: object) => ({ method: "POST", json });
/** The newest record of an action. */
const recordOf = async (action: string) => (await self.records("")).find((one) => one.action === action);

describe("what happens to people is in the audit log, in the transaction in which it happens", () => {
  it("an invitation, a change and a deletion, with what was before and is now, and by whom", SLOW, async () => {
    const first = (await self.records("")).findLast(({ action }) => action === "person.created");
    expect(first).toMatchObject({ actor: { type: "bootstrap" }, after: { id: admin.id, role: "admin" } });

    const one = await invite(self, admin, "owner");
    const by = { type: "person", id: admin.id, name: "First" };
    expect(await recordOf("person.created")).toMatchObject({
      actor: by,
      outcome: "success",
      before: null,
      after: { id: one.id, email: one.email, role: "owner", status: "active" },
      ipAddress: expect.stringMatching(/^10\./),
      sessionId: expect.stringMatching(/^pse_/),
    });
    const change = { method: "PATCH", json: { role: "auditor", name: "New name" } };
    expect((await admin.confirmed(`/people/${one.id}`, change)).status).toBe(200);
    const updated = await recordOf("person.updated");
    expect(updated).toMatchObject({
      actor: by,
      before: { id: one.id, role: "owner" },
      after: { id: one.id, role: "auditor", name: "New name", email: one.email },
    });
    // What changes nothing, or is refused, leaves no record.
    await admin.confirmed(`/people/${one.id}`, change);
    await admin.confirmed(`/people/${one.id}`, { method: "PATCH", json: { email: "first@example.com" } });
    await admin.confirmed(`/people/${admin.id}`, { method: "PATCH", json: { role: "owner" } });
    await admin.confirmed(`/people/${admin.id}`, { method: "DELETE" });
    expect((await recordOf("person.updated"))?.id).toBe(updated?.id);
    expect(await recordOf("person.deleted")).toBeUndefined();
    expect((await admin.confirmed(`/people/${one.id}`, { method: "DELETE" })).status).toBe(200);
    expect(await recordOf("person.deleted")).toMatchObject({ actor: by, before: { id: one.id }, after: null });
  });

  it("links, passkeys and sessions, and nothing that is secret", async () => {
    const one = await invite(self, admin, "owner");
    const made = await admin.confirmed(`/people/${one.id}/sign-in-links`, { method: "POST" });
    expect(await recordOf("link.created")).toMatchObject({ actor: { id: admin.id }, after: { person_id: one.id } });
    const opened = await openLink(self, made.body.link.url);
    expect(await recordOf("person.signed_in")).toMatchObject({ actor: { id: one.id }, after: { method: "link" } });
    const second = new Authenticator();
    const { passkey } = (await enrol(self, opened, second)).body;
    expect(await recordOf("passkey.created")).toMatchObject({
      actor: { id: one.id },
      after: { id: passkey.id, person_id: one.id, decides_from: passkey.decides_from },
    });
    const cookie = cookieOf(await signIn(self, second));
    const signedIn = await recordOf("person.signed_in");
    expect(signedIn).toMatchObject({ actor: { id: one.id }, after: { method: "passkey" } });
    const path = `/people/${one.id}/sessions/${signedIn!.sessionId}`;
    expect((await admin.call(path, { method: "DELETE" })).status).toBe(200);
    expect(await recordOf("person.session_ended")).toMatchObject({
      actor: { id: admin.id },
      before: { id: signedIn!.sessionId, person_id: one.id },
    });
    expect((await one.confirmed(`/people/${one.id}/passkeys/${passkey.id}`, { method: "DELETE" })).status).toBe(200);
    expect(await recordOf("passkey.deleted")).toMatchObject({ actor: { id: one.id }, before: { id: passkey.id } });
    await callWith(self, one.cookie, "/sign-out", { method: "POST" });
    expect(await recordOf("person.session_ended")).toMatchObject({ actor: { id: one.id } });
    const all = JSON.stringify(await self.records(""));
    for (const secret of [cookie, one.cookie, made.body.link.url.split("=")[1]]) expect(all).not.toContain(secret);
  });
});

describe("an invitation that is sent again with its Idempotency-Key", () => {
  it("is answered again once it is confirmed again, and without the link after ten minutes", SLOW, async () => {
    const json = { email: "again@example.com", role: "owner" };
    const init = { ...post(json), headers: { "idempotency-key": "invitation-of-again" } };
    const first = await admin.confirmed("/people", init);
    expect(first.status).toBe(201);
    const again = await admin.confirmed("/people", init);
    expect([again.status, again.headers.get("idempotent-replayed")]).toEqual([201, "true"]);
    expect(again.body).toEqual(first.body);
    // Not without a confirmation: neither the one that was used, nor none.
    expect((await admin.call("/people", init)).body.code).toBe("reauthentication_required");
    const other = { ...init, json: { ...json, role: "admin" } };
    expect((await admin.confirmed("/people", other)).body.code).toBe("idempotency_mismatch");
    const link = { method: "POST", headers: { "idempotency-key": "a-link-for-them" } };
    const path = `/people/${first.body.person.id}/sign-in-links`;
    const [made, repeated] = [await admin.confirmed(path, link), await admin.confirmed(path, link)];
    expect([made.body.link, repeated.headers.get("idempotent-replayed")]).toEqual([repeated.body.link, "true"]);
    await self.env.DB.prepare("UPDATE idempotency_keys SET secrets_expire_at = 1").run();
    const late = await admin.confirmed(path, link);
    expect([late.status, late.body.link.url]).toEqual([201, "***"]);
    expect((await self.call("/sign-in/methods")).status).toBe(200);
  });
});

describe("an answer waits for", () => {
  it(
    "one D1 round trip to find who is signed in, and one for what is read or changed; two more for a confirmation",
    SLOW,
    async () => {
      const one = await invite(self, admin, "owner");
      const confirmed = async (path: string, init: object) => {
        const { body } = await admin.call(path, init);
        const header = await admin.authenticator.confirm(body.assertion);
        return () => admin.call(path, { ...init, headers: { "agentauth-assertion": header } });
      };
      const cookie = cookieOf(await signIn(self, one.authenticator));
      const { id } = (await callWith(self, cookie, "/people/me")).body.session;
      const budgets: [work: () => Promise<{ status: number }>, d1: number][] = [
        [() => admin.call("/people/me"), 2],
        [() => admin.call("/people"), 2],
        [() => admin.call(`/people/${one.id}`), 2],
        [() => admin.call(`/people/${one.id}/sessions`), 2],
        [() => admin.call(`/people/${one.id}/passkeys`), 2],
        [() => admin.call(`/people/${one.id}/logins`), 2],
        [() => self.call("/sign-in/methods"), 0],
        [() => callWith(self, "", "/sign-in/passkey/options", { method: "POST" }), 0],
        [await confirmed("/people", post({ email: "budget@example.com", role: "owner" })), 4],
        [await confirmed(`/people/${one.id}`, { method: "PATCH", json: { name: "Another" } }), 4],
        [await confirmed(`/people/${one.id}/sign-in-links`, { method: "POST" }), 4],
        [() => admin.call(`/people/${one.id}/sessions/${id}`, { method: "DELETE" }), 2],
        [await confirmed(`/people/${one.id}`, { method: "DELETE" }), 4],
      ];
      for (const [index, [work, d1]] of budgets.entries()) {
        const { result, awaited } = await counter.run(work);
        expect({ index, ok: result.status < 300, d1: awaited.d1 }).toEqual({ index, ok: true, d1 });
        expect(awaited).toMatchObject({ kvReads: 0, kvWrites: 0, queueSends: 0 });
      }
    },
  );
});
