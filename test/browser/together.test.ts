import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorker, type Worker } from "../outside/support/worker.ts";
import { firstLink, join, startBrowser, visitor, type Visitor } from "./support/browser.ts";

/** Two administrators in the console at once, and a deployment with very many agents. Each test goes on where the one before it ended. */
const AGENTS = 100_000;

let worker: Worker;
let browser: Browser;
let origin: string;
let ada: Visitor;
let grace: Visitor;
let agent: string;

beforeAll(async () => {
  worker = await startWorker({ REGISTRATION: "approval" }, { assets: true });
  origin = `http://localhost:${worker.port}`;
  browser = await startBrowser();
  [ada, grace] = [await visitor(browser), await visitor(browser)];
  await join(ada, await firstLink(worker));
  const json = JSON.stringify({ email: "grace@example.com", name: "Grace Hopper", role: "admin" });
  const invited = await ada.page.evaluate<{ link: { url: string } }>(
    `import("/console/api.js").then(({ call }) => call("/people", { method: "POST", json: ${json} }))`,
  );
  await join(grace, invited.link.url);
});

afterAll(async () => {
  await browser?.close();
  await worker?.stop();
});

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const alerted = (page: Page, text: string) => page.getByRole("alert").filter({ hasText: text });
/** How the agent on the screen stands. */
const badge = (page: Page, word: string) => page.locator("header.page .badge").filter({ hasText: word });

async function register(name: string): Promise<string> {
  const permissions = ["github:issues:read", "github:issues:write"];
  const json = { name, owner_email: "owner@example.com", permissions };
  return (await worker.call("/agents/register", { method: "POST", json })).body.agent.agent_id;
}

/** Both have the same agent before them. */
async function bothOpen(id: string, title: string): Promise<void> {
  for (const { page } of [ada, grace]) {
    await page.goto(`${origin}/console/agents/${id}`);
    await page.getByRole("heading", { name: title }).waitFor();
    await page.getByText("without limits").first().waitFor();
  }
}

const CHANGED = "was changed since you have read it, and is active now";

test("who approves what somebody else has approved is told, and has nothing to undo", async () => {
  agent = await register("Support assistant");
  await bothOpen(agent, "Support assistant");
  await button(ada.page, "Approve").click();
  await badge(ada.page, "Active").waitFor();
  await button(grace.page, "Approve").click();
  await alerted(grace.page, CHANGED).waitFor();
  await badge(grace.page, "Active").waitFor();
  expect(await button(grace.page, "Approve").count()).toBe(0);
  expect(await button(grace.page, "Undo").count()).toBe(0);
  const [{ approved_by: by }] = (await worker.sql("SELECT approved_by FROM agents WHERE id = ?1", agent)) as [
    { approved_by: string },
  ];
  expect(by).toContain("Ada Lovelace");
});

test("of two who approve at the same moment one does, and the other one is told", async () => {
  const other = await register("Billing bot");
  await bothOpen(other, "Billing bot");
  await Promise.all([button(ada.page, "Approve").click(), button(grace.page, "Approve").click()]);
  for (const { page } of [ada, grace]) await badge(page, "Active").waitFor();
  const counted = async (text: string) =>
    (await Promise.all([ada, grace].map(({ page }) => page.getByText(text).count()))).reduce((sum, one) => sum + one);
  await expect.poll(() => counted(CHANGED)).toBe(1);
  await expect.poll(() => counted("is approved. It can verify itself now.")).toBe(1);
  expect(
    await worker.sql("SELECT count(*) AS n FROM events WHERE agent_id = ?1 AND event = 'agent.status_updated'", other),
  ).toHaveLength(1);
});

test("what somebody else has narrowed is not widened from an old page", async () => {
  await bothOpen(agent, "Support assistant");
  for (const { page } of [ada, grace]) await button(page, "Change").click();
  const grant = ada.page.getByRole("group", { name: "github:issues:write" });
  await grant.getByLabel("Field to limit").fill("path.owner");
  await grant.getByLabel("Value").fill("octo");
  await grant.getByRole("button", { name: "Limit" }).click();
  await button(ada.page, "Save").click();
  await ada.page.getByRole("dialog").waitFor({ state: "detached" });

  const drawer = grace.page.getByRole("dialog");
  await drawer.getByRole("group", { name: "github:issues:read" }).getByRole("button", { name: "Take away" }).click();
  await button(grace.page, "Save").click();
  await drawer.getByText("The grants have changed since they were read").waitFor();
  // Before is Ada's now, so that it is seen what saving would undo.
  await drawer.getByText("− github:issues:write · path.owner is octo").waitFor();
  await drawer.getByText("+ github:issues:write", { exact: true }).waitFor();
  const [{ grants }] = (await worker.sql("SELECT grants FROM agents WHERE id = ?1", agent)) as [{ grants: string }];
  expect(grants).toContain("octo");
  expect(grants).toContain("github:issues:read");
  await button(grace.page, "Cancel").click();
  await grace.page.getByText("path.owner is octo", { exact: true }).waitFor();
});

test("two who edit an agent lose nothing of each other", async () => {
  for (const { page } of [ada, grace]) {
    await page.reload();
    await button(page, "Edit").click();
  }
  await ada.page.getByLabel("Description").fill("Answers tickets");
  await button(ada.page, "Save").click();
  await ada.page.getByText("Answers tickets", { exact: true }).waitFor();
  await grace.page.getByLabel("Name").fill("Support desk");
  await button(grace.page, "Save").click();
  await grace.page.getByRole("dialog").getByText(CHANGED).waitFor();
  await expect.poll(() => grace.page.getByLabel("Description").inputValue()).toBe("Answers tickets");
  await button(grace.page, "Save").click();
  await grace.page.getByRole("heading", { name: "Support desk" }).waitFor();
  await grace.page.getByText("Answers tickets", { exact: true }).waitFor();
});

test("who acts on an agent that somebody else has revoked or deleted sees that, and the buttons go", async () => {
  const [{ page: hers }, { page }] = [ada, grace];
  await hers.reload();
  await button(hers, "Revoke").click();
  await hers.getByLabel("Type the name of the agent").fill("Support desk");
  await button(hers, "Revoke for good").click();
  await badge(hers, "Revoked").waitFor();
  await button(page, "Suspend").click();
  await alerted(page, "was changed since you have read it, and is revoked now").waitFor();
  await badge(page, "Revoked").waitFor();
  for (const name of ["Suspend", "Revoke", "Edit"]) expect(await button(page, name).count(), name).toBe(0);

  await button(hers, "Delete the agent").click();
  await hers.getByLabel("Type the name of the agent").fill("Support desk");
  await hers.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
  await hers.waitForURL(`${origin}/console/agents`);
  await button(page, "Delete the agent").click();
  await page.getByLabel("Type the name of the agent").fill("Support desk");
  await page.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
  await alerted(page, "The agent does not exist").first().waitFor();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  expect(await button(page, "Delete the agent").count()).toBe(0);
});

test(
  "a hundred thousand agents are searched, filtered and paged, fifty rows at a time",
  { timeout: 900_000 },
  async () => {
    await worker.sql(
      `INSERT INTO agents (id, name, owner_email, permissions, grants, status, tier, created_at, updated_at)
     SELECT printf('agt_%024d', value), printf('Seeded %06d', value), printf('owner%d@example.com', value), '[]', '[]',
       iif(value % 1000 = 0, 'suspended', 'active'), iif(value % 11 = 0, 'pro', 'free'), 1700000000000 + value, 1700000000000
     FROM (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?1) SELECT value FROM n)`,
      AGENTS,
    );
    const { page } = ada;
    const asked: string[] = [];
    page.on("request", (request) => {
      const { pathname, search } = new URL(request.url());
      if (pathname === "/agents") asked.push(search);
    });
    const rows = page.locator("main tbody tr");
    await page.goto(`${origin}/console/agents`);
    await page.getByText(/^100,00\d agents/).waitFor();
    expect(await rows.count()).toBe(50);
    await button(page, "More").click();
    await expect.poll(() => rows.count()).toBe(100);
    await page.getByLabel("Search name, id or owner").fill("seeded 0779");
    await page.waitForURL(/q=seeded\+0779/);
    await page.getByRole("link", { name: "Seeded 077999" }).waitFor();
    expect(await rows.count()).toBe(50);
    await page.goto(`${origin}/console/agents?status=suspended`);
    await page.getByText("100 agents found.").waitFor();
    await button(page, "More").click();
    await expect.poll(() => rows.count()).toBe(100);
    expect(await button(page, "More").count()).toBe(0);
    // One for each list that was looked at, and those of what waits: a page asks for nothing that is not on the screen.
    expect(asked.length, asked.join("\n")).toBeLessThanOrEqual(16);
    for (const search of asked) expect(Number(new URLSearchParams(search).get("limit"))).toBeLessThanOrEqual(100);

    await page.goto(`${origin}/console`);
    await page.getByText(/^99,90\d$/).waitFor();
    await page.getByText("No key ends within 14 days.").waitFor();
  },
);

test("the pages run their own scripts and no other", () => {
  expect([...ada.complaints, ...grace.complaints]).toEqual([]);
});
