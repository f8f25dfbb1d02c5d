import { spawnSync } from "node:child_process";
import { BASE_URL, fail, readDevVars, ROOT } from "./local.ts";

/**
 * The conformance suite against a deployment: `npm run conformance -- URL`. Without a URL: against the gateway that `npm start` runs. It
 * registers agents and deletes them again, with what the environment has: `ADMIN_BOOTSTRAP_TOKEN`, until people administer the
 * deployment, or `AGENTAUTH_AGENT_ID` and `AGENTAUTH_API_KEY` of an agent with `*:*:*` and the tier `enterprise`.
 */
const url = process.argv[2] ?? BASE_URL;
if (!/^https?:$/.test(URL.parse(url)?.protocol ?? "")) {
  fail(`${url} is not a URL. Run: npm run conformance -- https://agentauth.example.com`);
}
const { origin, hostname } = new URL(url);
const isLocal = hostname === "127.0.0.1" || hostname === "localhost";
const token = process.env.ADMIN_BOOTSTRAP_TOKEN ?? (isLocal ? readDevVars().ADMIN_BOOTSTRAP_TOKEN : undefined);
const { AGENTAUTH_AGENT_ID: agentId, AGENTAUTH_API_KEY: apiKey } = process.env;
if (!token && !(agentId && apiKey)) {
  fail(
    "Set ADMIN_BOOTSTRAP_TOKEN to that of the deployment, or AGENTAUTH_AGENT_ID and AGENTAUTH_API_KEY to those of an administrator agent: the suite registers agents.",
  );
}
const health = await fetch(`${origin}/health`).catch(() => undefined);
if (!health) fail(`Nothing answers at ${origin}.${isLocal ? " Run `npm start` in another terminal first." : ""}`);

const { status } = spawnSync("vitest", ["run", "--project", "conformance"], {
  cwd: ROOT,
  stdio: "inherit",
  env: { ...process.env, CONFORMANCE_URL: origin, ...(token && { ADMIN_BOOTSTRAP_TOKEN: token }) },
});
process.exit(status ?? 1);
