import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorker, type Worker } from "../outside/support/worker.ts";
import { testSecrets } from "../support/secrets.ts";
import {
  barriers,
  firstLink as makeFirstLink,
  startBrowser,
  typeItsName,
  visitor as visitorOf,
  type Visitor,
} from "./support/browser.ts";

/** The pages of people in a real browser, with its virtual authenticator. Each test goes on where the one before it ended. */

/** A folder for pictures of the pages, for somebody who wants to look at them. */
const { PICTURES } = process.env;

/** An address that is longer than a phone is wide. */
const GRACE = "grace.brewster.murray.hopper.of.the.united.states.navy@example.com";

let worker: Worker;
let browser: Browser;
let origin: string;
/** What a browser said about its policy, and every fault of a script. */
const complaints: string[] = [];

const visitor = (): Promise<Visitor> => visitorOf(browser, undefined, complaints);

/** The passkeys that a visitor's device has. */
async function passkeysOf({ authenticators, authenticatorId }: Visitor) {
  return (await authenticators.send("WebAuthn.getCredentials", { authenticatorId })).credentials;
}

type Passkey = Awaited<ReturnType<typeof passkeysOf>>[number];

const putPasskey = ({ authenticators, authenticatorId }: Visitor, credential: Passkey) =>
  authenticators.send("WebAuthn.addCredential", { authenticatorId, credential });

const takePasskey = ({ authenticators, authenticatorId }: Visitor, { credentialId }: Passkey) =>
  authenticators.send("WebAuthn.removeCredential", { authenticatorId, credentialId });

/** Sees that nothing of a page is cut off or scrolls sideways, on a phone and on a desk, and that nobody is kept out. */
async function look(one: Visitor, name: string): Promise<void> {
  const { page } = one;
  for (const width of [360, 1440]) {
    await page.setViewportSize({ width, height: 800 });
    expect(await page.evaluate("document.documentElement.scrollWidth"), `${name} at ${width}`).toBeLessThanOrEqual(
      width,
    );
    // What axe-core puts into the page, the page's policy refuses.
    const before = complaints.length;
    expect(await barriers(one), `${name} at ${width}`).toEqual([]);
    complaints.length = before;
    if (PICTURES) await page.screenshot({ path: `${PICTURES}/${name}-${width}.png`, fullPage: true });
  }
}

const button = ({ page }: Visitor, name: string | RegExp) => page.getByRole("button", { name });
const heading = ({ page }: Visitor, name: string) => page.getByRole("heading", { name });
const listed = ({ page }: Visitor, list: "passkeys" | "sessions" | "notices") => page.locator(`#${list} li`);
const alerted = ({ page }: Visitor) => page.getByRole("alert");

/** Opens a page, also one that differs from the present one in its fragment only, as somebody does who pastes an address. */
async function open({ page }: Visitor, url: string): Promise<void> {
  await page.goto("about:blank");
  await page.goto(url);
}

/** Sends a request from a page of somebody, with the passkey's confirmation if the page is asked for it. */
const callFrom = <Answer>({ page }: Visitor, method: string, path: string, json?: object): Promise<Answer> =>
  page.evaluate(
    `import("/console/api.js").then(({ call }) => call(${JSON.stringify(path)}, ${JSON.stringify({ method, json })}))`,
  );

async function signIn(one: Visitor): Promise<void> {
  await open(one, `${origin}/sign-in`);
  await button(one, "Sign in with a passkey").click();
  await heading(one, "Passkeys").waitFor();
}

let admin: Visitor;
let owner: Visitor;

beforeAll(async () => {
  worker = await startWorker({}, { assets: true });
  origin = `http://localhost:${worker.port}`;
  browser = await startBrowser();
  [admin, owner] = [await visitor(), await visitor()];
});

afterAll(async () => {
  await browser?.close();
  await worker?.stop();
});

let firstLink: string;

test("the first administrator opens the link, makes a passkey and signs in with it", async () => {
  firstLink = await makeFirstLink(worker);
  expect(firstLink).toMatch(new RegExp(`^${origin}/sign-in#link=psl_`));

  await open(admin, firstLink);
  await heading(admin, "Is this you?").waitFor();
  expect(admin.page.url()).toBe(`${origin}/sign-in`);
  expect(await admin.page.locator("#link").textContent()).toContain("ada@example.com");
  expect(await admin.context.cookies()).toEqual([]);
  await look(admin, "link");

  await button(admin, "Continue as ada@example.com").click();
  await heading(admin, "Make a passkey").waitFor();
  await look(admin, "enrol");
  // Loaded again, the page goes on where it was. The link's session opens nothing else.
  await admin.page.reload();
  await heading(admin, "Make a passkey").waitFor();
  await open(admin, `${origin}/account`);
  await admin.page.waitForURL(`${origin}/sign-in`);
  await button(admin, "Make a passkey").click();
  await heading(admin, "The passkey is made").waitFor();
  await look(admin, "enrolled");

  await button(admin, "Sign in with the passkey").click();
  await admin.page.waitForURL(`${origin}/account`);
  await heading(admin, "Ada Lovelace").waitFor();
  expect(await admin.page.locator("#who").textContent()).toBe("ada@example.com · Administrator");
  expect(await listed(admin, "passkeys").allTextContents()).toEqual([expect.stringContaining("Passkey of Linux")]);
  expect(await listed(admin, "sessions").allTextContents()).toContainEqual(expect.stringContaining("This browser"));
  await admin.page.getByRole("link", { name: "Open the console" }).waitFor();
  await look(admin, "account");
  const [cookie, ...others] = await admin.context.cookies();
  expect(others).toEqual([]);
  expect(cookie).toMatchObject({ name: `agentauth-${worker.port}`, httpOnly: true, sameSite: "Strict", path: "/" });
});

test("somebody signs out, and in again without saying who they are", async () => {
  await button(admin, "Sign out").click();
  await admin.page.waitForURL(`${origin}/sign-in`);
  await look(admin, "sign-in");
  expect(await admin.context.cookies()).toEqual([]);
  await open(admin, `${origin}/account`);
  await admin.page.waitForURL(`${origin}/sign-in`);
  await signIn(admin);
  await heading(admin, "Ada Lovelace").waitFor();
});

test("a second person accepts an invitation, in a browser in which nobody else is signed in", async () => {
  // The administrator's page asks for a confirmation, and gets it from the passkey.
  const invited = await callFrom<{ link: { url: string } }>(admin, "POST", "/people", {
    email: GRACE,
    name: "Grace Hopper",
    role: "owner",
  });
  await open(admin, invited.link.url);
  await alerted(admin).filter({ hasText: "ada@example.com is signed in in this browser" }).waitFor();
  expect(await admin.page.getByRole("link", { name: "your account" }).getAttribute("href")).toBe("/account");
  await look(admin, "link-of-another");

  await open(owner, invited.link.url);
  await button(owner, `Continue as ${GRACE}`).waitFor();
  expect(await owner.page.locator("#link").textContent()).toContain("It was made by Ada Lovelace.");
  await look(owner, "invitation");
  await button(owner, `Continue as ${GRACE}`).click();
  await button(owner, "Make a passkey").click();
  await button(owner, "Sign in with the passkey").click();
  await heading(owner, "Grace Hopper").waitFor();
  expect(await owner.page.locator("#who").textContent()).toBe(`${GRACE} · Owner`);
  expect(await listed(owner, "notices").first().textContent()).toContain("Grace Hopper");
});

test("an owner finds their agents and what these were denied at home, and no screen of others", async () => {
  const { body: registered } = await worker.call("/agents/register", {
    method: "POST",
    token: testSecrets.ADMIN_BOOTSTRAP_TOKEN,
    json: { name: "Support assistant", owner_email: GRACE, permissions: ["github:issues:read"] },
  });
  const { agent_id } = registered.agent;
  await open(admin, `${origin}/account`);
  await heading(admin, "Ada Lovelace").waitFor();
  const { person } = await callFrom<{ person: { id: string } }>(owner, "GET", "/people/me");
  await callFrom(admin, "PATCH", `/agents/${agent_id}`, { owner_person_id: person.id });
  const { body: verified } = await worker.call("/agents/verify", {
    method: "POST",
    json: { agent_id, api_key: registered.credentials.api_key },
  });
  const call = { method: "POST", token: verified.token.access_token, json: { title: "It is broken" } };
  expect((await worker.call("/proxy/github/repos/octo/hello/issues", call)).status).toBe(403);

  await owner.page.getByRole("link", { name: "Open the console" }).click();
  await heading(owner, "Home").waitFor();
  await owner.page.getByRole("link", { name: "Support assistant" }).first().waitFor();
  await expect
    .poll(
      async () => {
        await owner.page.reload();
        await heading(owner, "Denied last").waitFor();
        await owner.page
          .getByText("POST github /repos/octo/hello/issues")
          .or(owner.page.getByText("was denied"))
          .waitFor();
        return owner.page.getByText("403 denied").count();
      },
      { timeout: 30_000 },
    )
    .toBe(1);
  await look(owner, "owners-home");
  const screens = await owner.page.locator("nav .places a").allTextContents();
  expect(screens.map((name) => name.trim())).toEqual(["Home", "Agents", "Activity"]);

  // Its webhooks are not an owner's to read: the screen says whose, and leads to what the log has of them.
  await open(owner, `${origin}/console/agents/${agent_id}`);
  await heading(owner, "Webhooks").waitFor();
  await owner.page.getByText("The agent itself lists its webhooks").waitFor();
  await look(owner, "owners-agent");
  await owner.page.getByRole("link", { name: "Those that were switched off after failures" }).click();
  await heading(owner, "Activity").waitFor();
  await owner.page.getByText("No record matches.").waitFor();
  expect(await owner.page.locator("main .fault").count()).toBe(0);
  await open(owner, `${origin}/account`);
  await heading(owner, "Grace Hopper").waitFor();
});

test("a link that was used signs nobody in", async () => {
  const stranger = await visitor();
  await open(stranger, firstLink);
  await alerted(stranger).filter({ hasText: "The link was used" }).waitFor();
  await button(stranger, "Sign in with a passkey").waitFor();
  expect(await stranger.context.cookies()).toEqual([]);
  await look(stranger, "link-used");
  await stranger.context.close();
});

test("a second passkey is confirmed with the first, confirms nothing for a day, and is deleted by the first", async () => {
  await open(owner, `${origin}/account`);
  await button(owner, "Add a passkey").click();
  await alerted(owner).filter({ hasText: "This device has a passkey of yours already" }).waitFor();

  // The second is made on another device, and confirmed on this one.
  const [first] = await passkeysOf(owner);
  await takePasskey(owner, first!);
  const enrolment = /\/passkeys$/;
  await owner.page.route(enrolment, async (route) => {
    const [made] = await passkeysOf(owner);
    if (route.request().method() === "POST" && made!.credentialId !== first!.credentialId) {
      await takePasskey(owner, made!);
      await putPasskey(owner, first!);
    }
    await route.continue();
  });
  await button(owner, "Add a passkey").click();
  await listed(owner, "passkeys").nth(1).waitFor();
  await owner.page.unroute(enrolment);
  expect(await listed(owner, "passkeys").nth(1).textContent()).toContain("confirms acts from");
  await look(owner, "two-passkeys");

  await listed(owner, "passkeys").nth(1).getByRole("button", { name: "Delete" }).click();
  await typeItsName(owner.page, "Delete");
  await listed(owner, "passkeys").nth(1).waitFor({ state: "detached" });
  // The last one stays.
  await listed(owner, "passkeys").first().getByRole("button", { name: "Delete" }).click();
  await typeItsName(owner.page, "Delete");
  await alerted(owner).filter({ hasText: "could not sign in any more" }).waitFor();
  await look(owner, "last-passkey");
  await button(owner, "Cancel").click();
  expect(await listed(owner, "passkeys").count()).toBe(1);
});

test("a session is ended from another browser", async () => {
  const elsewhere = await visitor();
  // The same passkey, as a password manager keeps it on several devices.
  const [passkey] = await passkeysOf(owner);
  await putPasskey(elsewhere, passkey!);
  await signIn(elsewhere);
  await heading(elsewhere, "Grace Hopper").waitFor();

  await open(owner, `${origin}/account`);
  const others = listed(owner, "sessions").filter({ hasText: "Chrome on Linux" });
  await others.first().waitFor();
  expect(await others.count()).toBe(1);
  await others.getByRole("button", { name: "End" }).click();
  await owner.page.keyboard.press("Escape");
  expect(await others.count()).toBe(1);
  await others.getByRole("button", { name: "End" }).click();
  await look(owner, "end-session");
  await typeItsName(owner.page, "End it");
  await others.waitFor({ state: "detached" });
  await elsewhere.page.reload();
  await elsewhere.page.waitForURL(`${origin}/sign-in`);
  await owner.page.reload();
  await heading(owner, "Grace Hopper").waitFor();
  await elsewhere.context.close();
});

test("a request for a passkey that is not answered is explained, and can be repeated", async () => {
  const stranger = await visitor();
  await stranger.authenticators.send("WebAuthn.setUserVerified", {
    authenticatorId: stranger.authenticatorId,
    isUserVerified: false,
  });
  await open(stranger, `${origin}/sign-in`);
  await button(stranger, "Sign in with a passkey").click();
  await alerted(stranger).filter({ hasText: "No passkey was used" }).waitFor();
  expect(await button(stranger, "Sign in with a passkey").isEnabled()).toBe(true);
  await stranger.context.close();
});

test("an address leads to localhost, which can have passkeys, with the link's fragment", async () => {
  const stranger = await visitor();
  await open(stranger, `http://127.0.0.1:${worker.port}/sign-in#link=psl_unknown`);
  await stranger.page.waitForURL(`${origin}/sign-in`);
  await alerted(stranger).filter({ hasText: "The link was used, has expired" }).waitFor();
  await stranger.context.close();
});

test("the pages run their own scripts and no other", async () => {
  // Up to here the browser has refused nothing: no page has an inline script or style, or loads anything from elsewhere.
  expect(complaints).toEqual([]);
  for (const path of ["/sign-in", "/account"]) {
    const response = await owner.page.request.get(origin + path);
    const policy = response.headers()["content-security-policy"];
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain(`script-src ${origin}/console/`);
    expect(policy).not.toContain("unsafe");
    expect(await response.text()).not.toMatch(/<script(?![^>]* src=)|\son\w+=|\sstyle=/);

    await open(owner, origin + path);
    const refused = await owner.page.evaluate(`new Promise((resolve) => {
      const refused = [];
      document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => {
        refused.push([effectiveDirective, blockedURI]);
        if (refused.length === 3) resolve(refused);
      });
      const style = document.createElement("style");
      style.append("body { display: none }");
      document.head.append(style);
      // A script of this very origin that is not of the pages.
      import("/docs/reference.js").catch(() => undefined);
      try { document.body.innerHTML = "<p>"; } catch {}
    })`);
    expect(refused).toEqual(
      expect.arrayContaining([
        ["style-src-elem", "inline"],
        ["script-src-elem", `${origin}/docs/reference.js`],
        ["require-trusted-types-for", "trusted-types-sink"],
      ]),
    );
  }
});
