import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium, type Browser, type BrowserContext, type CDPSession, type Page } from "playwright-core";
import { expect } from "vitest";
import type { Worker } from "../../outside/support/worker.ts";
import { testSecrets } from "../../support/secrets.ts";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** A virtual authenticator that confirms everything it is asked for. */
const AUTHENTICATOR = {
  protocol: "ctap2",
  transport: "internal",
  ctap2Version: "ctap2_1",
  hasResidentKey: true,
  hasUserVerification: true,
  isUserVerified: true,
  automaticPresenceSimulation: true,
} as const;

/** Starts Chromium without a window. */
export async function startBrowser(): Promise<Browser> {
  if (!existsSync(CHROMIUM)) {
    throw new Error(
      `${CHROMIUM} is not there. Install Debian's package chromium, or name another Chromium in CHROMIUM.`,
    );
  }
  // The shared memory of a container may be too small for pages.
  const args = ["--no-sandbox", "--disable-dev-shm-usage"];
  return chromium.launch({ executablePath: CHROMIUM, args, timeout: 120_000 });
}

/** A browser of its own, with its cookies and its passkeys. */
export interface Visitor {
  readonly page: Page;
  readonly context: BrowserContext;
  readonly authenticators: CDPSession;
  readonly authenticatorId: string;
  /** What the browser said about its policy, and every fault of a script. */
  readonly complaints: string[];
}

/** @param complaints where they are gathered, if those of several visitors are to be read together. */
export async function visitor(
  browser: Browser,
  viewport = { width: 1440, height: 900 },
  complaints: string[] = [],
): Promise<Visitor> {
  const context = await browser.newContext({ viewport, reducedMotion: "reduce", timezoneId: "Europe/Berlin" });
  // A machine may have other things to do: what comes at once costs no time.
  context.setDefaultTimeout(120_000);
  const page = await context.newPage();
  page.on("pageerror", ({ message }) => complaints.push(message));
  page.on("dialog", (dialog) => {
    complaints.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("console", (message) => {
    if (/Content.Security.Policy|TrustedScript|TrustedHTML/.test(message.text())) complaints.push(message.text());
  });
  const authenticators = await context.newCDPSession(page);
  await authenticators.send("WebAuthn.enable");
  const { authenticatorId } = await authenticators.send("WebAuthn.addVirtualAuthenticator", { options: AUTHENTICATOR });
  return { page, context, authenticators, authenticatorId, complaints };
}

/** Opens a sign-in link in the page, makes a passkey, and signs in with it. */
export async function join({ page }: Visitor, url: string): Promise<void> {
  await page.goto("about:blank");
  await page.goto(url);
  await page.getByRole("button", { name: /^Continue as/ }).click();
  await page.getByRole("button", { name: "Make a passkey" }).click();
  await page.getByRole("button", { name: "Sign in with the passkey" }).click();
  await page.waitForURL(/\/account$/);
}

/** Destroys what the open dialog asks about: its name is typed, and with another one nothing happens. @param label of the button. */
export async function typeItsName(page: Page, label: string): Promise<void> {
  const dialog = page.getByRole("dialog");
  const field = dialog.getByRole("textbox");
  const go = dialog.getByRole("button", { name: label });
  expect(await go.isDisabled()).toBe(true);
  const name = await dialog.locator("b").textContent();
  await field.fill(`${name}x`);
  await field.press("Enter");
  expect(await go.isDisabled()).toBe(true);
  await field.fill(` ${name}`);
  await field.press("Enter");
}

/** The link of the first administrator of an empty deployment. */
export async function firstLink(worker: Worker): Promise<string> {
  const { status, body } = await worker.call("/people/bootstrap", {
    method: "POST",
    token: testSecrets.ADMIN_BOOTSTRAP_TOKEN,
    json: { email: "ada@example.com", name: "Ada Lovelace" },
  });
  expect(status).toBe(201);
  return body.link.url;
}

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/**
 * What of a page somebody cannot see, hear or reach: every fault that axe-core finds by WCAG 2.2 AA. The script is loaded into a copy of
 * the page's world that its policy does not bind.
 */
export async function barriers({ authenticators: session }: Visitor): Promise<string[]> {
  // In the session of the authenticators: when another one ends, Chromium takes them from the page.
  const { frameTree } = await session.send("Page.getFrameTree");
  const { executionContextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id });
  const run = async (expression: string) =>
    session.send("Runtime.evaluate", {
      expression,
      contextId: executionContextId,
      awaitPromise: true,
      returnByValue: true,
    });
  await run(readFileSync(AXE, "utf8"));
  const { result, exceptionDetails } = await run(`axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }).then(({ violations }) => violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => [id, target.join(" "), failureSummary].join(" | "))))`);
  expect(exceptionDetails).toBeUndefined();
  return result.value as string[];
}
