import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorker, type Worker } from "../outside/support/worker.ts";
import { testSecrets } from "../support/secrets.ts";
import { barriers, firstLink, join, startBrowser, visitor, type Visitor } from "./support/browser.ts";

/** The console in a real browser. Each test goes on where the one before it ended. */
const { PICTURES } = process.env;

const PHONE = { width: 360, height: 740 };
const DESK = { width: 1440, height: 900 };

let worker: Worker;
let browser: Browser;
let upstream: Server;
let origin: string;
let admin: Visitor;
/** What axe-core found on all the screens. */
const found: string[] = [];

beforeAll(async () => {
  upstream = createServer(({ url }, response) =>
    url === "/hostile-hook"
      ? response.writeHead(500, { "content-type": "text/html" }).end(`\u202E${HOSTILE}`)
      : response.writeHead(200, { "content-type": "application/json" }).end('{"ok":true}'),
  );
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  const { port } = upstream.address() as AddressInfo;
  worker = await startWorker(
    {
      REGISTRATION: "approval",
      WEBHOOK_ALLOW_LOOPBACK: "true",
      "UPSTREAMS.github.base_url": `http://127.0.0.1:${port}`,
      UPSTREAM_GITHUB_TOKEN: "ghp_of_a_browser_test",
    },
    { assets: true },
  );
  origin = `http://localhost:${worker.port}`;
  browser = await startBrowser();
  admin = await visitor(browser);
  await join(admin, await firstLink(worker));
});

afterAll(async () => {
  await browser?.close();
  await worker?.stop();
  upstream?.close();
});

const button = (page: Page, name: string | RegExp) =>
  page.getByRole("button", { name, exact: typeof name === "string" });
const heading = (page: Page, name: string | RegExp) => page.getByRole("heading", { name });
const link = (page: Page, name: string | RegExp) => page.getByRole("link", { name, exact: typeof name === "string" });

/** Looks at a screen at the sizes that it is drawn for: nothing scrolls sideways, and nobody is kept out. Keeps pictures for people. */
async function picture(page: Page, name: string): Promise<void> {
  for (const [width, scheme, looks] of [
    [360, "light", true],
    [768, "dark", false],
    [1440, "dark", true],
    [1440, "light", false],
    [360, "dark", false],
  ] as const) {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme: scheme });
    expect(await page.evaluate("document.documentElement.scrollWidth"), `${name} at ${width}`).toBeLessThanOrEqual(
      width,
    );
    if (width === 360) {
      const drawers = await page.evaluate(
        "[...document.querySelectorAll('dialog.drawer')].map((one) => one.offsetWidth)",
      );
      expect(drawers, `${name}: a drawer is as wide as a phone`).toEqual((drawers as []).map(() => width));
    }
    if (looks) found.push(...(await barriers(admin)).map((one) => `${name} at ${width}, ${scheme}: ${one}`));
    if (PICTURES) await page.screenshot({ path: `${PICTURES}/${name}-${width}-${scheme}.png` });
  }
}

async function open(page: Page, path: string, title: string | RegExp): Promise<void> {
  await page.goto(origin + path);
  await heading(page, title).first().waitFor();
}

interface Waiting {
  readonly id: string;
  readonly key: string;
}

/** An agent that a stranger registers. */
async function register(json: object): Promise<Waiting> {
  const { status, body } = await worker.call("/agents/register", {
    method: "POST",
    json: { owner_email: "owner@example.com", ...json },
  });
  expect(status, JSON.stringify(body)).toBe(201);
  return { id: body.agent.agent_id, key: body.credentials.api_key };
}

const verify = ({ id, key }: Waiting) =>
  worker.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: key } });

let assistant: Waiting;
let billing: Waiting;
let token: string;
/** The screen of somebody who has signed in. */
let personPath: string;

const createIssue = (repository: string) =>
  worker.call(`/proxy/github/repos/octo/${repository}/issues`, {
    method: "POST",
    token,
    json: { title: "It is broken" },
  });

test("a browser is led to the console, another client gets a description", async () => {
  const plain = await worker.call("/");
  expect(plain.status).toBe(200);
  expect(plain.body).toMatchObject({ name: "AgentAuth", links: { console: "/console" } });
  await open(admin.page, "/", "Home");
  expect(admin.page.url()).toBe(`${origin}/console`);
});

test("whoever is signed out comes back to the screen that they wanted", async () => {
  const stranger = await visitor(browser);
  await stranger.page.goto(`${origin}/console/agents?status=active`);
  await stranger.page.waitForURL(`${origin}/sign-in`);
  await stranger.context.close();
});

test("on a phone an agent is approved, and its call is seen as it is made", async () => {
  const { page } = admin;
  assistant = await register({
    name: "Support assistant",
    description: "Answers tickets",
    permissions: ["github:issues:read", "github:issues:write"],
  });
  expect((await verify(assistant)).status).toBe(401);

  await page.setViewportSize(PHONE);
  await open(page, "/console", "Home");
  await page.getByText("Support assistant").waitFor();
  await picture(page, "home-waiting");
  await page.setViewportSize(PHONE);
  await button(page, "Approve").click();
  await page.getByRole("status").filter({ hasText: "Support assistant is approved" }).waitFor();
  const verified = await verify(assistant);
  expect(verified.status).toBe(200);
  token = verified.body.token.access_token;

  await button(page, "Menu").click();
  await link(page, "Agents").click();
  await heading(page, "Agents").waitFor();
  await link(page, "Support assistant").click();
  await heading(page, "Support assistant").waitFor();
  expect((await createIssue("hello")).status).toBe(200);
  const call = page.locator("tr", { hasText: "/repos/octo/hello/issues" }).first();
  await call.getByText("200 success").waitFor();
  // A phone has no column for the time.
  expect(await call.locator("time:visible").count()).toBe(1);
  await picture(page, "agent");
});

test("its grant is narrowed, and the denial is seen", async () => {
  const { page } = admin;
  await page.setViewportSize(PHONE);
  await button(page, "Change").click();
  const grant = page.getByRole("group", { name: "github:issues:write" });
  await grant.locator('datalist option[value="path.repo"]').waitFor({ state: "attached" });
  for (const [field, value] of [
    ["path.owner", "octo"],
    ["path.repo", "hello"],
  ] as const) {
    await grant.getByLabel("Field to limit").fill(field);
    await grant.getByLabel("Value").fill(value);
    await grant.getByRole("button", { name: "Limit" }).click();
  }
  await page.getByText("+ github:issues:write · path.owner is octo · path.repo is hello").waitFor();
  await page.getByText("− github:issues:write", { exact: true }).waitFor();
  await picture(page, "grants");
  await page.setViewportSize(PHONE);
  await button(page, "Save").click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  expect((await createIssue("other")).status).toBe(403);
  expect((await createIssue("hello")).status).toBe(200);
  const denied = page.locator("tr", { hasText: "/repos/octo/other/issues" }).first();
  await denied.getByText("403 denied").waitFor();
});

test("it is revoked by its name, and its next call fails", async () => {
  const { page } = admin;
  await button(page, "Revoke").click();
  const revoke = button(page, "Revoke for good");
  expect(await revoke.isDisabled()).toBe(true);
  await page.getByLabel("Type the name of the agent").fill("Support assistant");
  await picture(page, "revoke");
  await page.setViewportSize(PHONE);
  await revoke.click();
  await page.getByText("Revoked", { exact: true }).waitFor();
  expect((await createIssue("hello")).status).toBe(401);
  expect(await verify(assistant)).toMatchObject({ status: 401 });
});

test("an agent is registered, its key is shown once, and it is suspended and activated again", async () => {
  const { page } = admin;
  await page.setViewportSize(DESK);
  await open(page, "/console/agents", "Agents");
  await link(page, "Register an agent").click();
  await heading(page, "Register an agent").waitFor();
  await page.getByLabel("Name").fill("Billing bot");
  await page.getByLabel("stripe:payments:read").check();
  await picture(page, "register");
  await page.setViewportSize(DESK);
  await button(page, "Register").click();
  const key = await page.getByLabel("The secret").textContent();
  expect(key).toMatch(/^ak_/);
  expect(await button(page, "Done").isDisabled()).toBe(true);
  await picture(page, "secret");
  await page.setViewportSize(DESK);
  await page.getByLabel("I have kept it").check();
  await button(page, "Done").click();
  await heading(page, "Billing bot").waitFor();
  const id = page.url().split("/").at(-1)!;
  billing = { id, key: key! };
  expect(await verify(billing)).toMatchObject({ status: 200 });
  expect(await page.content()).not.toContain(key);

  await button(page, "Suspend").click();
  await page.getByText("Suspended", { exact: true }).waitFor();
  expect(await verify(billing)).toMatchObject({ status: 401 });
  await button(page, "Undo").click();
  await page.getByText("Active", { exact: true }).waitFor();
  expect(await verify(billing)).toMatchObject({ status: 200 });
});

test("what ends sessions ends nothing before it is named: one, and all of an agent", async () => {
  const { page } = admin;
  const sessions = page.locator(".card", { hasText: "Sessions" }).locator("li");
  const address = "192.0.2.7";
  expect(await verify(billing)).toMatchObject({ status: 200 });
  await worker.sql("UPDATE sessions SET ip_address = ?1 WHERE agent_id = ?2", address, billing.id);
  await page.reload();
  await sessions.nth(1).getByText(address).waitFor();
  const before = await sessions.count();
  await sessions.first().getByRole("button", { name: "End" }).click();
  const dialog = page.getByRole("dialog");
  expect(await button(page, "End it").isDisabled()).toBe(true);
  await page.getByLabel("Type the address of the session").fill(`${address}1`);
  expect(await button(page, "End it").isDisabled()).toBe(true);
  await picture(page, "end-session");
  await page.setViewportSize(DESK);
  await button(page, "Cancel").click();
  await dialog.waitFor({ state: "detached" });
  expect(await sessions.count()).toBe(before);
  await sessions.first().getByRole("button", { name: "End" }).click();
  await page.getByLabel("Type the address of the session").fill(address);
  await button(page, "End it").click();
  await page.getByRole("status").filter({ hasText: "The session has ended." }).waitFor();
  await dialog.waitFor({ state: "detached" });
  await expect.poll(() => sessions.count()).toBe(before - 1);

  await button(page, "End its sessions").click();
  expect(await button(page, "End all").isDisabled()).toBe(true);
  await picture(page, "end-sessions");
  await page.setViewportSize(DESK);
  await page.getByLabel("Type the name of the agent").fill("Billing bot");
  await button(page, "End all").click();
  await page.getByRole("status").filter({ hasText: "Billing bot is signed out everywhere." }).waitFor();
  await page.getByText("No session.").waitFor();
});

test("an agent is edited, given to a person, and the change is undone", async () => {
  const { page } = admin;
  await button(page, "Edit").click();
  await page.getByLabel("Description").fill("Sends invoices");
  const ada = page.locator('datalist option[label="Ada Lovelace, ada@example.com"]');
  await page.getByLabel("Owned by").fill((await ada.getAttribute("value"))!);
  await button(page, "Save").click();
  await page.getByText("Sends invoices").waitFor();
  await page.getByText("Owned by").waitFor();
  await button(page, "Undo").click();
  await page.getByText("Sends invoices").waitFor({ state: "detached" });
  await page.getByText("Owned by").waitFor({ state: "detached" });
});

test("filters stand in the address, which is a link; back and reload keep them", async () => {
  const { page } = admin;
  await open(page, "/console/agents?status=revoked", "Agents");
  await link(page, "Support assistant").waitFor();
  expect(await link(page, "Billing bot").count()).toBe(0);
  await link(page, "Support assistant").click();
  await heading(page, "Support assistant").waitFor();
  await page.goBack();
  await link(page, "Support assistant").waitFor();
  expect(page.url()).toBe(`${origin}/console/agents?status=revoked`);
  await page.reload();
  await link(page, "Support assistant").waitFor();
  await page.getByLabel("Status").selectOption("active");
  await link(page, "Billing bot").waitFor();
  expect(page.url()).toBe(`${origin}/console/agents?status=active`);
  await picture(page, "agents");
  await open(page, "/console/nothing/here", "There is no such page");
});

test("the log is searched by filters that stand in the address, and a record has an address of its own", async () => {
  const { page } = admin;
  await page.setViewportSize(DESK);
  await open(page, "/console", "Home");
  await page.keyboard.press("g");
  await page.keyboard.press("t");
  await heading(page, "Activity").waitFor();
  await page.getByLabel("Outcome").selectOption("denied");
  await page.getByText("/repos/octo/other/issues").first().waitFor();
  expect(await page.locator("main tbody tr", { hasText: "success" }).count()).toBe(0);
  await picture(page, "activity");
  await page.setViewportSize(DESK);
  await page.locator("tr", { hasText: "/repos/octo/other/issues" }).getByRole("link").click();
  const drawer = page.getByRole("dialog");
  await drawer.getByText("POST /repos/{owner}/{repo}/issues").waitFor();
  await picture(page, "record");
  await page.setViewportSize(DESK);
  const address = page.url();
  expect(address).toMatch(/\/console\/activity\/aud_\w+\?outcome=denied$/);
  await page.keyboard.press("Escape");
  await drawer.waitFor({ state: "detached" });
  expect(page.url()).toBe(`${origin}/console/activity?outcome=denied`);
  await page.goto(address);
  await drawer.getByText("POST /repos/{owner}/{repo}/issues").waitFor();
  await page.goBack();

  await open(page, "/console/activity", "Activity");
  await button(page, "Export").click();
  const [download] = await Promise.all([page.waitForEvent("download"), button(page, "JSON lines").click()]);
  const lines = (await readFile(await download.path(), "utf8")).trim().split("\n");
  expect(lines.length).toBeGreaterThan(3);
  expect(JSON.parse(lines.at(-1)!)).toMatchObject({ end: { records: lines.length - 1 } });
});

test("the record of a change of grants is read as grants, in the list and in the drawer", async () => {
  const { page } = admin;
  await page.setViewportSize(DESK);
  await open(page, "/console/activity?action=agent.permissions_updated", "Activity");
  const limited = "github:issues:write · path.owner is octo · path.repo is hello";
  const row = page.locator("tr", { hasText: `grants + ${limited} − github:issues:write` });
  await row.getByRole("link").click();
  const drawer = page.getByRole("dialog");
  await drawer.getByText("Before and after").waitFor();
  expect(await drawer.locator("ins").allTextContents()).toEqual([`+ ${limited}`]);
  expect(await drawer.locator("del").allTextContents()).toEqual(["− github:issues:write"]);
  expect(await drawer.locator(".same").allTextContents()).toEqual(["github:issues:read"]);
  await picture(page, "record-of-grants");
  await page.setViewportSize(DESK);
  await page.keyboard.press("Escape");
});

test("a service is checked, explained and searched for the rules that reach a path", async () => {
  const { page } = admin;
  await page.setViewportSize(DESK);
  await open(page, "/console/services", "Services");
  await picture(page, "services");
  await page.setViewportSize(DESK);
  await link(page, "github").click();
  await heading(page, "github").waitFor();
  await button(page, "Check the credential").click();
  await page.getByText("The upstream takes the credential.").waitFor();
  await page.getByLabel("Search rules").fill("/issues/{");
  await page.getByLabel("Path").fill("/repos/octo/hello/issues/5");
  await button(page, "Explain").click();
  await page.getByText("insufficient_permissions").waitFor();
  await page.getByLabel("Method").selectOption("POST");
  await page.getByLabel("Path").fill("/repos/octo/hello/issues");
  await page.getByLabel("Body, as JSON").fill('{"title":"It is broken"}');
  await button(page, "Explain").click();
  await page.getByText("github:issues:write", { exact: true }).last().waitFor();
  await picture(page, "service");
  await page.setViewportSize(DESK);
  // What was written for another method is not sent with this one.
  await page.getByLabel("Method").selectOption("GET");
  await button(page, "Explain").click();
  await page.getByText("github:issues:read", { exact: true }).last().waitFor();
  expect(await page.content()).not.toContain("ghp_of_a_browser_test");
});

test("the settings are shown, and no secret", async () => {
  const { page } = admin;
  await page.setViewportSize(DESK);
  await open(page, "/console/settings", "Settings");
  await page.getByText("STANDING_TTL_SECONDS").waitFor();
  await picture(page, "settings");
  expect(await page.content()).not.toContain(testSecrets.ADMIN_BOOTSTRAP_TOKEN);
});

test("the colours that are chosen in the console are those of its other pages", async () => {
  const { page } = admin;
  await page.setViewportSize(DESK);
  await page.emulateMedia({ colorScheme: "light" });
  await open(page, "/console", "Home");
  const background = () => page.evaluate("getComputedStyle(document.body).backgroundColor");
  const light = await background();
  await page.getByLabel("Colours").selectOption("dark");
  const dark = await background();
  expect(dark).not.toBe(light);
  await open(page, "/account", "Ada Lovelace");
  expect(await background()).toBe(dark);
  await open(page, "/console", "Home");
  await page.getByLabel("Colours").selectOption("device");
  expect(await background()).toBe(light);
});

test("a webhook is tested, its secret renewed, and it is switched off and on again", async () => {
  const { page } = admin;
  const agent = await worker.admin();
  const { status, body } = await worker.call("/webhooks", {
    method: "POST",
    token: agent.token,
    json: { url: "http://127.0.0.1:9/hooks", events: ["agent.revoked"], description: "Goes nowhere" },
  });
  expect(status).toBe(201);
  await page.setViewportSize(DESK);
  await open(page, "/console/webhooks", "Webhooks");
  await picture(page, "webhooks");
  await page.setViewportSize(DESK);
  // The webhook's agent has it among its own.
  await page.getByRole("row", { name: "127.0.0.1:9/hooks" }).getByRole("link").last().click();
  await heading(page, "Keys").waitFor();
  await link(page, "http://127.0.0.1:9/hooks").click();
  await heading(page, "http://127.0.0.1:9/hooks").waitFor();
  await button(page, "Send a test").click();
  await button(page, "webhook.test").click();
  await page.getByRole("dialog").getByText("Attempts", { exact: true }).waitFor();
  await page.getByRole("dialog").getByText("What is sent").waitFor();
  await page.keyboard.press("Escape");
  await button(page, "New secret").click();
  await button(page, "Make the secret").click();
  expect(await page.getByLabel("The secret").textContent()).toMatch(/^whsec_/);
  await page.getByLabel("I have kept it").check();
  await button(page, "Done").click();
  await button(page, "Switch off").click();
  await page.getByText("Off", { exact: true }).waitFor();
  await button(page, "Undo").click();
  await page.getByText("Active", { exact: true }).waitFor();
  await picture(page, "webhook");
  expect(await page.content()).not.toContain(body.webhook.secret);
});

test("somebody is invited with a passkey’s confirmation, looks on as an auditor, and changes nothing", async () => {
  const { page } = admin;
  await page.setViewportSize(DESK);
  await open(page, "/console/people", "People");
  await button(page, "Invite somebody").click();
  await page.getByLabel("E-mail").fill("grace@example.com");
  await page.getByLabel("Auditor").check();
  await picture(page, "invite");
  await page.setViewportSize(DESK);
  await button(page, "Invite").click();
  const url = (await page.getByLabel("The secret").textContent())!;
  expect(url).toContain("/sign-in#link=psl_");
  await page.getByLabel("I have kept it").check();
  await button(page, "Done").click();
  await link(page, "grace").click();
  await heading(page, "grace").waitFor();
  await picture(page, "person");

  const auditor = await visitor(browser);
  await auditor.page.goto(`${origin}/console/activity?outcome=denied`);
  await auditor.page.waitForURL(`${origin}/sign-in`);
  await auditor.page.goto("about:blank");
  await auditor.page.goto(url);
  await button(auditor.page, /^Continue as/).click();
  await button(auditor.page, "Make a passkey").click();
  await button(auditor.page, "Sign in with the passkey").click();
  // Back on the screen that was left when nobody was signed in.
  await heading(auditor.page, "Activity").waitFor();
  expect(auditor.page.url()).toBe(`${origin}/console/activity?outcome=denied`);
  await open(auditor.page, `/console/agents/${assistant.id}`, "Support assistant");
  for (const name of ["Change", "Revoke", "Suspend", "New key", "Delete the agent"]) {
    expect(await button(auditor.page, name).count(), name).toBe(0);
  }
  expect(auditor.complaints).toEqual([]);
  await auditor.context.close();

  // Where they are signed in has a short name, and behind it stands what the browser has called itself.
  await page.setViewportSize(DESK);
  await page.reload();
  personPath = new URL(page.url()).pathname;
  const said = page.getByText(/^It calls itself Mozilla\/5\.0 .*HeadlessChrome/);
  expect(await said.isVisible()).toBe(false);
  await page.getByText("Chrome on Linux", { exact: true }).click();
  await said.waitFor();
  await picture(page, "person-signed-in");
});

/** What an agent, a browser or an upstream may call itself, or answer. */
const HOSTILE = `<img src=x onerror=alert(1)><script>alert(2)</script>"'\u003e{{7*7}}javascript:alert(3)`;

test("text that agents, browsers and receivers wrote is only ever text", async () => {
  const { page } = admin;
  await page.setViewportSize(DESK);
  const hostile = await register({
    name: HOSTILE.slice(0, 100),
    description: HOSTILE,
    metadata: { "<b>note</b>": HOSTILE },
    permissions: ["github:issues:read"],
  });
  // What comes from elsewhere than the API's own fields, which refuse such characters.
  await worker.sql(
    "UPDATE agents SET name = ?1, owner_email = ?2 WHERE id = ?3",
    `\u202Egnp.exe ${HOSTILE}`,
    HOSTILE,
    hostile.id,
  );
  await worker.sql(
    "UPDATE person_sessions SET user_agent = ?1 WHERE user_agent <> ''",
    `\u202EFirefox/1 Linux ${HOSTILE}`,
  );
  await worker.sql(
    "UPDATE deliveries SET response_body = ?1, error = ?1, response_status = 500, status = 'failed'",
    HOSTILE,
  );
  await worker.auditSql(
    "UPDATE records SET message = ?1, path = ?1, actor_name = ?1, before = ?2, after = ?2 WHERE action = 'gateway.call'",
    HOSTILE,
    JSON.stringify({ "<i>": HOSTILE }),
  );
  for (const [path, text] of [
    ["/console/agents", "<img src=x"],
    [`/console/agents/${hostile.id}`, "<img src=x"],
    ["/console/activity?action=gateway.call", "<script>alert(2)</script>"],
    ["/console/deliveries", "<img src=x"],
    ["/console/people", "grace"],
    [personPath, "Firefox on Linux"],
    ["/console", "<img src=x"],
    [`/console/<img src=x onerror=alert(1)>`, "There is no such page"],
  ] as const) {
    await page.goto(origin + path);
    await page.getByText(text).first().waitFor();
    expect(await page.locator("main :is(img, script, iframe, svg[onload], a[href^='javascript'])").count(), path).toBe(
      0,
    );
  }
  await open(page, "/console/agents", "Agents");
  await page.getByText("U+202E").first().waitFor();
  for (const path of [personPath, "/account"]) {
    await page.goto(origin + path);
    await page
      .getByText(/^(?:Firefox on Linux|This browser)$/)
      .first()
      .click();
    await page.getByText(`It calls itself U+202EFirefox/1 Linux ${HOSTILE}`).waitFor();
    expect(await page.locator("main :is(img, script, iframe)").count(), path).toBe(0);
  }
  await page.goto(`${origin}/console/activity?action=gateway.call`);
  await page.locator("main tbody a").first().click();
  await page.getByRole("dialog").getByText("<img src=x").first().waitFor();
  await picture(page, "hostile");
  expect(admin.complaints).toEqual([]);
});

test("what a receiver of webhooks answers is only ever text, also among the attempts", async () => {
  const { page } = admin;
  await page.setViewportSize(DESK);
  const { token: agentToken } = await worker.admin();
  const { port } = upstream.address() as AddressInfo;
  const { status, body } = await worker.call("/webhooks", {
    method: "POST",
    token: agentToken,
    json: {
      url: `http://127.0.0.1:${port}/hostile-hook`,
      events: ["agent.revoked"],
      description: HOSTILE.replaceAll(/[<>]/g, "*"),
    },
  });
  expect(status, JSON.stringify(body)).toBe(201);
  const { id } = body.webhook;
  await page.goto(`${origin}/console/webhooks/${id}`);
  await button(page, "Send a test").click();
  await expect
    .poll(() => worker.call(`/webhooks/${id}/deliveries`, { token: agentToken }))
    .toMatchObject({ body: { deliveries: [{ response_status: 500 }] } });
  await page.reload();
  await button(page, "webhook.test").click();
  const drawer = page.getByRole("dialog");
  await drawer.getByText("The last attempts").waitFor();
  await drawer.getByText("What the receiver answered").waitFor();
  // Once as the last answer, and once in its attempt.
  const answers = drawer.locator(".pre", { hasText: "<script>alert(2)</script>" });
  await expect.poll(() => answers.count()).toBe(2);
  for (const answer of await answers.all()) {
    expect(await answer.textContent()).toContain(`U+202E${HOSTILE}`);
  }
  expect(await page.locator(":is(main, dialog) :is(img, iframe, script, [onerror])").count()).toBe(0);
  await picture(page, "delivery");
  await page.keyboard.press("Escape");
  await drawer.waitFor({ state: "detached" });
  expect(await page.evaluate("document.activeElement.textContent")).toBe("webhook.test");
  expect(admin.complaints).toEqual([]);
});

test("a script that a proxied answer holds never runs as one of the console’s", async () => {
  const { page } = admin;
  await page.setViewportSize(DESK);
  await open(page, "/console", "Home");
  const refused = await page.evaluate(`new Promise((resolve) => {
    document.addEventListener("securitypolicyviolation", ({ blockedURI }) => resolve(blockedURI), { once: true });
    import("/proxy/github/evil.js").catch(() => undefined);
  })`);
  expect(refused).toBe(`${origin}/proxy/github/evil.js`);
  admin.complaints.length = 0;
  const framed = await page.request.get(`${origin}/console/agents`);
  expect(framed.headers()["x-frame-options"] ?? framed.headers()["content-security-policy"]).toMatch(
    /DENY|frame-ancestors 'none'/,
  );
});

test("what fails says so, and what to do; what was there stays", async () => {
  const { page } = admin;
  await page.setViewportSize(DESK);
  await page.route("**/agents?**", (route) =>
    route.fulfill({
      status: 500,
      contentType: "application/json",
      body: '{"error":"It broke.","message":"It broke.","code":"internal_error","request_id":"req-1"}',
    }),
  );
  await page.goto(`${origin}/console/agents`);
  await page.getByRole("alert").filter({ hasText: "It broke." }).first().waitFor();
  await page.getByText("req-1").first().waitFor();
  await picture(page, "failed");
  await page.setViewportSize(DESK);
  await page.unroute("**/agents?**");
  await button(page, "Try again").first().click();
  await link(page, "Billing bot").waitFor();

  await open(page, "/console/agents/agt_nothing", "Agent");
  await page.getByRole("alert").filter({ hasText: "The agent does not exist." }).waitFor();
  await link(page, "All agents").click();
  await link(page, "Billing bot").waitFor();

  await page.route("**/health/details", (route) => route.abort());
  await open(page, "/console", "Home");
  await page.getByText("AgentAuth cannot be reached.").first().waitFor();
  await page.unroute("**/health/details");

  // Slow: the skeleton says that it is being loaded, and it arrives.
  let arrive = () => {};
  const slow = new Promise<void>((resolve) => (arrive = resolve));
  const isList = (url: URL) => url.pathname === "/services";
  await page.route(isList, async (route) => {
    await slow;
    await route.continue();
  });
  await page.goto(`${origin}/console/services`, { waitUntil: "commit" });
  await page.getByText("Loading.").first().waitFor();
  arrive();
  await link(page, "github").waitFor();
  await page.unroute(isList);
});

test("the keyboard alone reaches an agent, and a dialog gives the focus back", async () => {
  const { page } = admin;
  await page.setViewportSize(DESK);
  await open(page, "/console", "Home");
  await page.keyboard.press("Tab");
  expect(await page.evaluate("document.activeElement.textContent")).toBe("Skip to the page");
  await page.keyboard.press("g");
  await page.keyboard.press("a");
  await heading(page, "Agents").waitFor();
  await link(page, "Billing bot").waitFor();
  expect(await page.evaluate("document.activeElement.tagName")).toBe("H1");
  await page.keyboard.press("/");
  await page.keyboard.type("Billing");
  await page.waitForURL(/q=Billing/);
  await link(page, "Billing bot").waitFor();
  await page.keyboard.press("Escape");
  await page.evaluate("document.activeElement.blur()");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await heading(page, "Billing bot").waitFor();
  // The title gets the focus once it is drawn, and would take it from what is pressed before.
  await expect.poll(() => page.evaluate("document.activeElement.textContent")).toBe("Billing bot");
  await button(page, "Revoke").focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  expect(await page.evaluate("document.activeElement.textContent")).toBe("Revoke");
  await page.keyboard.press("?");
  await page.getByRole("dialog").getByText("Next and former row").waitFor();
  await page.keyboard.press("Escape");
});

/** Presses Tab until what has the focus is called so. Everything on the way has to show that it has it. */
async function tabTo(page: Page, name: string): Promise<void> {
  for (let presses = 0; presses < 80; presses++) {
    await page.keyboard.press("Tab");
    const [label, isShown] = (await page.evaluate(`(() => {
      const at = document.activeElement;
      if (at === document.body) return ["", true];
      const { boxShadow, outlineStyle } = getComputedStyle(at);
      const label = at.getAttribute("aria-label") ?? at.labels?.[0]?.textContent ?? at.textContent;
      return [label, boxShadow !== "none" || outlineStyle !== "none"];
    })()`)) as [string, boolean];
    expect(isShown, `the focus is seen on “${label}”`).toBe(true);
    if (label === name) return;
  }
  expect.unreachable(`no key leads to “${name}”`);
}

const focused = (page: Page) =>
  page.evaluate("document.activeElement.tagName + ' ' + document.activeElement.textContent");

test("by keys alone an agent is approved, narrowed and revoked, and the focus is never lost", async () => {
  const { page } = admin;
  await page.setViewportSize(DESK);
  const porter = await register({ name: "Night porter", permissions: ["github:issues:write"] });
  await worker.sql("UPDATE agents SET status = 'revoked' WHERE status = 'inactive' AND id <> ?1", porter.id);
  await open(page, "/console", "Home");
  await page.getByText("Night porter").waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  expect(await page.evaluate("document.activeElement.id")).toBe("main");
  await tabTo(page, "Approve");
  await page.keyboard.press("Enter");
  await page.getByRole("status").filter({ hasText: "Night porter is approved" }).waitFor();
  // Its row goes, and the button with it.
  await button(page, "Approve").waitFor({ state: "detached" });
  expect(await focused(page)).toBe("H1 Home");
  const verified = await verify(porter);
  expect(verified.status).toBe(200);
  token = verified.body.token.access_token;
  expect((await createIssue("hello")).status).toBe(200);

  await page.keyboard.press("g");
  await page.keyboard.press("a");
  await heading(page, "Agents").waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("Night");
  await page.waitForURL(/q=Night/);
  await link(page, "Night porter").waitFor();
  await tabTo(page, "Night porter");
  await page.keyboard.press("Enter");
  await heading(page, "Night porter").waitFor();

  await tabTo(page, "Change");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await tabTo(page, "Field to limit github:issues:write by");
  await page.keyboard.type("path.repo");
  await tabTo(page, "Value");
  await page.keyboard.type("hello");
  await tabTo(page, "Limit");
  await page.keyboard.press("Enter");
  await page.getByText("+ github:issues:write · path.repo is hello").waitFor();
  await tabTo(page, "Save");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  expect(await focused(page)).toBe("BUTTON Change");
  expect((await createIssue("other")).status).toBe(403);

  await tabTo(page, "Revoke");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  // The name is typed at once.
  await page.keyboard.type("Night porter");
  await tabTo(page, "Revoke for good");
  await page.keyboard.press("Enter");
  await page.getByText("Revoked", { exact: true }).waitFor();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  expect(await focused(page)).toBe("H1 Night porter");
  expect((await createIssue("hello")).status).toBe(401);
});

test("nobody is kept out of any of the screens above", () => {
  expect(found).toEqual([]);
});

test("the pages run their own scripts and no other", () => {
  expect(admin.complaints).toEqual([]);
});
