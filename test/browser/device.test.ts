import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorker, type Worker } from "../outside/support/worker.ts";
import { barriers, firstLink, join, startBrowser, typeItsName, visitor, type Visitor } from "./support/browser.ts";

/** The page at which a person lets a command in (RFC 8628), in a real browser. Each test goes on where the one before it ended. */
const { PICTURES } = process.env;
const HERE = "198.51.100.7";
const ELSEWHERE = "203.0.113.66";

let worker: Worker;
let browser: Browser;
let origin: string;
let ada: Visitor;

beforeAll(async () => {
  worker = await startWorker({}, { assets: true });
  origin = `http://localhost:${worker.port}`;
  browser = await startBrowser();
  ada = await visitor(browser);
  await ada.context.setExtraHTTPHeaders({ "cf-connecting-ip": HERE });
  await join(ada, await firstLink(worker));
});

afterAll(async () => {
  await browser?.close();
  await worker?.stop();
});

const button = (name: string) => ada.page.getByRole("button", { name, exact: true });
const heading = (name: string) => ada.page.getByRole("heading", { name });
const alerted = (text: string) => ada.page.getByRole("alert").filter({ hasText: text });

interface Command {
  readonly device_code: string;
  readonly user_code: string;
}

/** A command that asks to act for somebody. */
async function ask(address: string, userAgent = "agentauth-cli/1.0"): Promise<Command> {
  const { status, body } = await worker.call("/oauth/device_authorization", {
    method: "POST",
    headers: { "cf-connecting-ip": address, "user-agent": userAgent },
    body: new URLSearchParams({ client_id: "agentauth-cli" }),
  });
  expect(status).toBe(200);
  return body;
}

const redeem = ({ device_code }: Command) =>
  worker.call("/oauth/token", {
    method: "POST",
    body: new URLSearchParams({
      client_id: "agentauth-cli",
      grant_type: "urn:ietf:params:oauth:grant-type:device_code",
      device_code,
    }),
  });

async function type(code: string): Promise<void> {
  await ada.page.goto(`${origin}/device`);
  await heading("Let a command in").waitFor();
  await ada.page.getByLabel("Code").fill(code);
  await button("Continue").click();
}

/** Nothing scrolls sideways, and nobody is kept out, on a phone and on a desk. */
async function look(name: string): Promise<void> {
  for (const [width, colorScheme] of [
    [360, "light"],
    [1440, "dark"],
  ] as const) {
    await ada.page.setViewportSize({ width, height: 800 });
    await ada.page.emulateMedia({ colorScheme });
    expect(await ada.page.evaluate("document.documentElement.scrollWidth"), `${name} at ${width}`).toBe(width);
    // What axe-core puts into the page, the page's policy refuses.
    const complaints = ada.complaints.length;
    expect(await barriers(ada), `${name} at ${width}`).toEqual([]);
    ada.complaints.length = complaints;
    if (PICTURES) await ada.page.screenshot({ path: `${PICTURES}/device-${name}-${width}.png`, fullPage: true });
  }
}

test("somebody who is signed out signs in first, and a code in the address is not looked at", async () => {
  await button("Sign out").click();
  await ada.page.waitForURL(`${origin}/sign-in`);
  const { user_code: code } = await ask(ELSEWHERE);
  await ada.page.goto(`${origin}/device?user_code=${code}#${code}`);
  await heading("Sign in first").waitFor();
  await look("signed-out");
  await button("Sign in with a passkey").click();
  await heading("Let a command in").waitFor();
  expect(await ada.page.getByLabel("Code").inputValue()).toBe("");
  await ada.page.getByText("Has somebody sent you this code?").waitFor();
  await look("code");
});

test("a code that is no code, or nobody's, is explained, and can be typed again", async () => {
  await type("WDJB");
  await alerted("The code has 8 letters").waitFor();
  await type("BBBB-BBBB");
  await alerted("does not exist").waitFor();
  await look("wrong");
  expect(await button("Continue").isEnabled()).toBe(true);
});

test("a code typed for somebody else: the page shows whose command it is, and “no” stops it", async () => {
  const stranger = await ask(ELSEWHERE, "<img src=x onerror=alert(1)> Ada's own laptop");
  await type(stranger.user_code);
  await heading("Did you start this?").waitFor();
  expect(await ada.page.locator("#address").textContent()).toBe(ELSEWHERE);
  await ada.page.getByText("It does not run at the address of this browser.").waitFor();
  expect(await ada.page.locator("#agent").textContent()).toBe("<img src=x onerror=alert(1)> Ada's own laptop");
  expect(await ada.page.locator("#person").textContent()).toBe("ada@example.com");
  await look("elsewhere");
  await button("No, stop it").click();
  await heading("The command is not signed in.").waitFor();
  expect((await redeem(stranger)).body.error).toBe("access_denied");
});

test("without a passkey nothing is let in", async () => {
  const command = await ask(ELSEWHERE);
  await type(command.user_code);
  const verified = (isUserVerified: boolean) =>
    ada.authenticators.send("WebAuthn.setUserVerified", { authenticatorId: ada.authenticatorId, isUserVerified });
  await heading("Did you start this?").waitFor();
  await verified(false);
  await button("Yes, I started it").click();
  await ada.page.getByRole("alert").filter({ hasText: "passkey" }).waitFor();
  await verified(true);
  expect((await redeem(command)).body.error).toBe("authorization_pending");
});

test("a code that ends while the page is open lets nothing in", async () => {
  const command = await ask(HERE);
  await type(command.user_code);
  await heading("Did you start this?").waitFor();
  await worker.sql("UPDATE device_codes SET expires_at = 1");
  await button("Yes, I started it").click();
  await alerted("does not exist").waitFor();
  expect((await redeem(command)).body.error).toBe("expired_token");
});

test("one's own command is let in with the passkey, and stands among the sessions, from which it is ended", async () => {
  const command = await ask(HERE);
  await type(command.user_code.toLowerCase().replace("-", " "));
  await heading("Did you start this?").waitFor();
  expect(await ada.page.getByText("It does not run at the address").isVisible()).toBe(false);
  await look("own");
  await button("Yes, I started it").click();
  await heading("The command is signed in").waitFor();
  const { body } = await redeem(command);
  const { access_token: token } = body;
  expect((await worker.call("/agents", { token })).status).toBe(200);
  expect((await worker.call("/people", { token })).status).toBe(403);
  await ada.page.getByRole("link", { name: "Your account" }).click();
  const command_ = ada.page.locator("#sessions li").filter({ hasNotText: "This browser" });
  await command_.first().waitFor();
  // The newest is first. What a command calls itself stands behind its name, as it does in the console.
  const program = command_.first().locator("summary");
  expect(await program.textContent()).toBe("AgentAuth command line");
  await program.click();
  await command_.first().getByText("It calls itself").waitFor();
  await look("account");
  await ada.page.getByRole("link", { name: "Open the console" }).click();
  await ada.page.getByRole("heading", { name: "Home" }).waitFor();
  await ada.page.getByRole("link", { name: "People", exact: true }).click();
  await ada.page.locator("main").getByRole("link", { name: "Ada" }).click();
  await ada.page.getByText("AgentAuth command line", { exact: true }).first().waitFor();
  await ada.page.getByRole("link", { name: "Account", exact: true }).click();
  await command_.first().waitFor();
  for (let left = await command_.count(); left > 0; left--) {
    await command_.first().getByRole("button", { name: "End" }).click();
    await typeItsName(ada.page, "End it");
    await expect.poll(() => command_.count()).toBe(left - 1);
  }
  expect((await worker.call("/agents", { token })).status).toBe(401);
});

test("the page runs its own scripts and no other", () => {
  expect(ada.complaints).toEqual([]);
});
