import { beforeAll, describe, expect, it } from "vitest";
import { Authenticator, type Twist } from "../support/authenticator.ts";
import { SLOW, few } from "../support/extents.ts";
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
import { refusedSignIns } from "../support/refused-sign-ins.ts";
import { toBase64Url } from "../../src/crypto/base64.ts";
import { world } from "../support/world.ts";

const self = world();
let admin: SignedInPerson;
let owner: SignedInPerson;
const run = (sql: string, ...values: unknown[]) =>
  self.env.DB.prepare(sql)
    .bind(...values)
    .run();

beforeAll(async () => {
  admin = await firstAdministrator(self);
  owner = await invite(self, admin, "owner");
});

const TWISTS: readonly [string, Twist][] = [
  ["another origin", { origin: "https://evil.example.com" }],
  ["another port", { origin: "https://auth.example.com:8443" }],
  ["a frame of another origin", { crossOrigin: true }],
  ["another relying party", { rpId: "evil.example.com" }],
  ["nobody present", { flags: 0x04 }],
  ["nobody verified", { flags: 0x01 }],
];

describe("signing in with a passkey", () => {
  const options = async () => (await callWith(self, "", "/sign-in/passkey/options", { method: "POST" })).body.options;
  const verify = (json: object) => callWith(self, "", "/sign-in/passkey/verify", { method: "POST", json });

  it("asks nobody who they are", async () => {
    expect(await options()).toMatchObject({
      rpId: "auth.example.com",
      userVerification: "required",
      allowCredentials: [],
    });
  });

  it("ignores what a browser sends besides, as the standard says", async () => {
    const json = { ...(await owner.authenticator.get(await options())), authenticatorAttachment: "platform" };
    expect((await verify(json)).status).toBe(200);
  });

  few(2).each([...TWISTS, ["another ceremony", { type: "webauthn.create" }] as const])(
    "is refused for %s",
    async (_, twist) => {
      const { status, body } = await verify(await owner.authenticator.get(await options(), twist));
      expect([status, body.code]).toEqual([401, "sign_in_refused"]);
    },
  );

  it("is refused for an answer that was used, or to a challenge that was not made here", async () => {
    const answered = await owner.authenticator.get(await options());
    const used = await Promise.all([verify(answered), verify(answered)]);
    expect(used.map(({ status }) => status).sort()).toEqual([200, 401]);
    const made = toBase64Url(crypto.getRandomValues(new Uint8Array(52)));
    for (const challenge of [made, "", "AAAA"]) {
      const json = await owner.authenticator.get({ challenge, rpId: "auth.example.com" });
      expect((await verify(json)).body.code).toBe("sign_in_refused");
    }
  });

  it("is refused for a challenge of more than five minutes ago", async () => {
    const { challenge } = await options();
    const bytes = Uint8Array.from(atob(challenge.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    new DataView(bytes.buffer).setUint32(16, Math.floor(Date.now() / 1000) + 86_400);
    const later = await owner.authenticator.get({ challenge: toBase64Url(bytes), rpId: "auth.example.com" });
    expect((await verify(later)).body.code).toBe("sign_in_refused");
  });

  it("is refused for an unknown passkey, and for a signature of another key", async () => {
    expect((await verify(await new Authenticator().get(await options()))).body.code).toBe("sign_in_refused");
    const forged = { ...(await new Authenticator().get(await options())), id: owner.authenticator.id };
    expect((await verify(forged)).body.code).toBe("sign_in_refused");
    const { signature, ...rest } = await owner.authenticator.get(await options());
    for (const other of ["", signature.slice(0, -4), `${signature.slice(0, -4)}AAAA`]) {
      expect((await verify({ ...rest, signature: other })).body.code).toMatch(/sign_in_refused|validation_error/);
    }
  });

  it("is refused for an authenticator that was copied: its counter has not moved on", async () => {
    expect((await signIn(self, owner.authenticator)).status).toBe(200);
    const { counter } = owner.authenticator;
    for (const copied of [counter, counter - 1, 0]) {
      const json = await owner.authenticator.get(await options(), { counter: copied });
      expect((await verify(json)).body.code).toBe("sign_in_refused");
    }
    expect((await signIn(self, owner.authenticator)).status).toBe(200);
  });

  it(
    "is recorded when it is refused: of its person if the signature is of their key, and else of the address",
    SLOW,
    async () => {
      expect((await signIn(self, owner.authenticator)).status).toBe(200);
      const copied = async () =>
        owner.authenticator.get(await options(), { counter: Math.max(0, owner.authenticator.counter - 1) });
      const refused = async (json: object) => {
        const own = world();
        const before = new Set((await refusedSignIns(own)).map(({ id }) => id));
        const { body } = await callWith(own, "", "/sign-in/passkey/verify", { method: "POST", json });
        expect(body.code).toBe("sign_in_refused");
        return (await refusedSignIns(own)).filter(({ id }) => !before.has(id));
      };
      const about = { outcome: "denied", count: 1, path: "/sign-in/passkey/verify", message: "passkey" };
      expect(await refused(await copied())).toEqual([
        expect.objectContaining({ ...about, actor: { type: "person", id: owner.id, name: null } }),
      ]);
      const { signature: _, ...rest } = await copied();
      const { signature } = await new Authenticator().get(await options());
      for (const unknown of [{ ...rest, signature }, await new Authenticator().get(await options())]) {
        expect(await refused(unknown)).toEqual([expect.objectContaining({ ...about, actor: null })]);
      }
    },
  );

  it("goes on with one that does not count", SLOW, async () => {
    const one = await invite(self, admin, "auditor");
    await run("UPDATE passkeys SET counter = 0 WHERE person_id = ?1", one.id);
    for (const _ of [1, 2])
      expect((await verify(await one.authenticator.get(await options(), { counter: 0 }))).status).toBe(200);
  });
});

describe("a confirmation", () => {
  const invitation = { method: "POST", json: { email: "invited@example.com", role: "owner" } };
  const asking = async (who = admin, path = "/people", init: object = invitation) =>
    (await who.call(path, init)).body.assertion;
  const sent = (assertion: string, path = "/people", init: object = invitation, who = admin) =>
    who.call(path, { ...init, headers: { "agentauth-assertion": assertion } });

  few(2).each([...TWISTS, ["another ceremony", { type: "webauthn.create" }] as const])(
    "is refused for %s",
    async (_, twist) => {
      const refused = await sent(await admin.authenticator.confirm(await asking(), twist));
      expect([refused.status, refused.body.code]).toEqual([403, "assertion_refused"]);
    },
  );

  it("is good for one act: not for another body, path, method, role or person", async () => {
    const assertion = async () => admin.authenticator.confirm(await asking());
    const others: [string, object][] = [
      ["/people", { method: "POST", json: { email: "invited@example.com", role: "admin" } }],
      ["/people", { method: "POST", json: { email: "other@example.com", role: "owner" } }],
      [`/people/${owner.id}/sign-in-links`, { method: "POST" }],
      [`/people/${owner.id}`, { method: "DELETE" }],
      [`/people/${owner.id}`, { method: "PATCH", json: { role: "admin" } }],
    ];
    for (const [path, init] of others) {
      expect((await sent(await assertion(), path, init)).body.code).toBe("assertion_refused");
    }
    const { id } = await self.agent();
    const grant = { method: "PUT", json: { permissions: ["*:*:*"] } };
    expect((await sent(await assertion(), `/agents/${id}/permissions`, grant)).body.code).toBe("assertion_refused");
  });

  it("is good once", async () => {
    const assertion = await admin.authenticator.confirm(await asking());
    const both = await Promise.all([sent(assertion), sent(assertion)]);
    expect(both.map(({ status }) => status).sort()).toEqual([201, 403]);
    expect((await sent(assertion)).body.code).toBe("assertion_refused");
  });

  it("is not that of another person, of another session, or one for signing in", SLOW, async () => {
    const another = await invite(self, admin, "admin");
    // The passkey of another person, for the challenge of this one.
    expect((await sent(await another.authenticator.confirm(await asking()))).body.code).toBe("assertion_refused");
    // The challenge of another person.
    expect((await sent(await admin.authenticator.confirm(await asking(another)))).body.code).toBe("assertion_refused");
    const { body } = await callWith(self, "", "/sign-in/passkey/options", { method: "POST" });
    expect((await sent(await admin.authenticator.confirm(body.options))).body.code).toBe("assertion_refused");
  });

  it("is 400 for what is none", async () => {
    for (const header of ["", "e30", "!", toBase64Url(new TextEncoder().encode('{"id":1}')), "A".repeat(9000)]) {
      expect((await sent(header)).status).toBe(400);
    }
  });

  it("is asked for again by whoever signed in long ago, for what needs a recent proof", SLOW, async () => {
    const { id } = await self.agent();
    const key = (who: SignedInPerson) => who.call(`/agents/${id}/keys`, { method: "POST", json: { label: "new" } });
    expect((await key(admin)).status).toBe(201);
    await run("UPDATE person_sessions SET auth_time = auth_time - 301000 WHERE person_id = ?1", admin.id);
    expect((await key(admin)).body.code).toBe("reauthentication_required");
    const init = { method: "POST", json: { label: "new" } };
    expect((await admin.confirmed(`/agents/${id}/keys`, init)).status).toBe(201);
    expect((await admin.call(`/agents/${id}/revoke`, { method: "POST" })).body.code).toBe("reauthentication_required");
    expect((await admin.call(`/agents/${id}`)).body.agent.status).toBe("active");
  });
});

describe("enrolling a passkey", () => {
  const session = (who: SignedInPerson) => ({ cookie: who.cookie, personId: who.id });
  const begin = async (who: SignedInPerson) =>
    (await who.call(`/people/${who.id}/passkeys/options`, { method: "POST" })).body.options;

  it("needs more than a stolen cookie", async () => {
    expect((await enrol(self, session(owner), new Authenticator())).body.code).toBe("reauthentication_required");
    // Also for somebody who has none, as after a login at the provider.
    const one = await invite(self, admin, "owner");
    await run("DELETE FROM passkeys WHERE person_id = ?1", one.id);
    expect((await enrol(self, session(one), new Authenticator())).body.code).toBe("reauthentication_required");
  });

  it("is confirmed with an existing passkey, and the new one confirms nothing for 24 hours", SLOW, async () => {
    const one = await invite(self, admin, "admin");
    const second = new Authenticator();
    const json = { label: "second", ...(await second.create(await begin(one))) };
    const path = `/people/${one.id}/passkeys`;
    expect((await one.confirmed(path, { method: "POST", json })).status).toBe(201);
    expect((await admin.call("/people/me")).body.notices[0]).toMatchObject({
      kind: "passkey.enrolled",
      about: { id: one.id },
    });
    expect((await signIn(self, second)).status).toBe(200);
    const invitation = { method: "POST", json: { email: "new@example.com", role: "owner" } };
    const confirm = async () => {
      const { assertion } = (await one.call("/people", invitation)).body;
      return one.call("/people", {
        ...invitation,
        headers: { "agentauth-assertion": await second.confirm(assertion) },
      });
    };
    expect((await confirm()).body.code).toBe("passkey_too_new");
    await run("UPDATE passkeys SET decides_from = decides_from - 86400000 WHERE person_id = ?1", one.id);
    expect((await confirm()).status).toBe(201);
  });

  it(
    "after a recovery link confirms nothing for 24 hours either, also if the former ones were deleted",
    SLOW,
    async () => {
      const one = await invite(self, admin, "admin");
      await run("DELETE FROM passkeys WHERE person_id = ?1", one.id);
      const made = await admin.confirmed(`/people/${one.id}/sign-in-links`, { method: "POST" });
      const fresh = new Authenticator();
      const enrolled = await enrol(self, await openLink(self, made.body.link.url), fresh);
      const { decides_from: from, created_at: at } = enrolled.body.passkey;
      expect(Date.parse(from) - Date.parse(at)).toBe(86_400_000);
    },
  );

  few(2).each(TWISTS)("is refused for %s", async (_, twist) => {
    const made = await admin.confirmed(`/people/${owner.id}/sign-in-links`, { method: "POST" });
    const opened = await openLink(self, made.body.link.url);
    const path = `/people/${owner.id}/passkeys`;
    const { body } = await callWith(self, opened.cookie, `${path}/options`, { method: "POST" });
    const json = { label: "twisted", ...(await new Authenticator().create(body.options, twist)) };
    const refused = await callWith(self, opened.cookie, path, { method: "POST", json });
    expect([refused.status, refused.body.code]).toEqual([400, "passkey_refused"]);
  });

  it("is refused for a passkey that somebody has, and with the challenge of another session", SLOW, async () => {
    const made = await admin.confirmed(`/people/${owner.id}/sign-in-links`, { method: "POST" });
    const opened = await openLink(self, made.body.link.url);
    expect((await enrol(self, opened, admin.authenticator)).body.code).toBe("passkey_refused");
    const path = `/people/${owner.id}/passkeys`;
    const json = { label: "of another session", ...(await new Authenticator().create(await begin(owner))) };
    expect((await callWith(self, opened.cookie, path, { method: "POST", json })).body.code).toBe("passkey_refused");
  });
});

describe("deleting a passkey", () => {
  it("is confirmed, and leaves a way to sign in", async () => {
    const one = await invite(self, admin, "owner");
    const [passkey] = (await one.call(`/people/${one.id}/passkeys`)).body.passkeys;
    const path = `/people/${one.id}/passkeys/${passkey.id}`;
    expect((await one.call(path, { method: "DELETE" })).body.code).toBe("reauthentication_required");
    expect((await one.confirmed(path, { method: "DELETE" })).body.code).toBe("last_passkey");
    expect((await owner.confirmed(path, { method: "DELETE" })).body.code).toBe("role_required");
    expect((await one.confirmed(`/people/${owner.id}/passkeys/${passkey.id}`, { method: "DELETE" })).status).toBe(403);
    expect((await one.confirmed(`/people/${one.id}/passkeys/pky_0`, { method: "DELETE" })).status).toBe(404);
  });

  it(
    "ends the sessions that passkeys opened, but that of who deletes it, and nothing if it is refused",
    SLOW,
    async () => {
      const one = await invite(self, admin, "owner");
      const [passkey] = (await one.call(`/people/${one.id}/passkeys`)).body.passkeys;
      const lost = await signIn(self, one.authenticator);
      const isIn = async () => (await callWith(self, cookieOf(lost), "/people/me")).status === 200;
      const path = `/people/${one.id}/passkeys`;
      expect((await one.confirmed(`${path}/${passkey.id}`, { method: "DELETE" })).body.code).toBe("last_passkey");
      expect(await isIn()).toBe(true);
      const { options } = (await one.call(`${path}/options`, { method: "POST" })).body;
      const json = { label: "second", ...(await new Authenticator().create(options)) };
      expect((await one.confirmed(path, { method: "POST", json })).status).toBe(201);
      expect((await one.confirmed(`${path}/pky_0`, { method: "DELETE" })).status).toBe(404);
      expect(await isIn()).toBe(true);
      expect((await one.confirmed(`${path}/${passkey.id}`, { method: "DELETE" })).status).toBe(200);
      expect(await isIn()).toBe(false);
      expect((await one.call("/people/me")).status).toBe(200);
      expect((await admin.call("/people/me")).status).toBe(200);
    },
  );
});
