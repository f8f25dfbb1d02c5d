import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorker, type Worker } from "../outside/support/worker.ts";
import { startOidcServers, type OidcServers } from "../support/oidc-server.ts";
import { firstLink, startBrowser, visitor } from "./support/browser.ts";

/** Signing in at the company's OpenID provider, in a real browser. Each test goes on where the one before it ended. */

let servers: OidcServers;
let worker: Worker;
let browser: Browser;
let origin: string;
let context: BrowserContext;
let page: Page;

/** Who sits before the browser, as far as the provider knows. */
const become = (subject: string, email: string) =>
  context.addCookies([
    {
      name: "who",
      value: Buffer.from(JSON.stringify({ subject, claims: { email } })).toString("base64url"),
      url: servers.issuer,
    },
  ]);

const button = (name: string) => page.getByRole("button", { name });
const heading = (name: string) => page.getByRole("heading", { name });

beforeAll(async () => {
  // A client on this machine may come back to any port (RFC 8252 §7.3).
  servers = await startOidcServers(["http://localhost"]);
  const settings = {
    OIDC_ISSUER: servers.issuer,
    OIDC_CLIENT_ID: servers.clientId,
    OIDC_CLIENT_SECRET: servers.clientSecret,
  };
  worker = await startWorker(settings, { assets: true });
  origin = `http://localhost:${worker.port}`;
  browser = await startBrowser();
  ({ context, page } = await visitor(browser));
  context.setDefaultTimeout(15_000);
});

afterAll(async () => {
  await browser?.close();
  await worker?.stop();
  servers?.close();
});

test("an invitation is accepted with the company's account, which signs in from then on", async () => {
  const link = await firstLink(worker);
  await become("ada", "ada@company.example");
  await page.goto(link);
  await button("Continue as ada@example.com").click();
  await button("Use the company's account instead").click();
  await page.waitForURL(`${origin}/account`);
  await heading("Ada Lovelace").waitFor();
  expect(await page.locator("#logins li").allTextContents()).toEqual([expect.stringContaining("ada@company.example")]);
  const cookies = (await context.cookies(origin)).map(({ name, sameSite, httpOnly }) => [name, sameSite, httpOnly]);
  // The cookie of the login has gone, and the session's is the browser's although it came back from another site.
  expect(cookies.filter(([name]) => name !== "who")).toEqual([[`agentauth-${new URL(origin).port}`, "Strict", true]]);

  await button("Sign out").click();
  await button("Sign in with the company's account").click();
  await page.waitForURL(`${origin}/account`);
  await heading("Ada Lovelace").waitFor();
});

test("a passkey is made after a login that asked for a new proof", async () => {
  // There is none to confirm it with, so the page leads to the provider and back.
  const isBack = page.waitForResponse((response) => response.url().startsWith(`${origin}/sign-in/oidc/callback`));
  await button("Add a passkey").click();
  await isBack;
  await heading("Ada Lovelace").waitFor();
  await button("Add a passkey").click();
  await page.locator("#passkeys li").filter({ hasText: "Passkey of Linux" }).waitFor();
});

test("somebody else's account signs nobody in, and the page says so", async () => {
  await button("Sign out").click();
  await become("eve", "ada@example.com");
  await button("Sign in with the company's account").click();
  await page.getByRole("alert").filter({ hasText: "signs nobody in here" }).waitFor();
  expect(page.url()).toBe(`${origin}/sign-in`);
  await page.goto(`${origin}/account`);
  await page.waitForURL(`${origin}/sign-in`);
});
