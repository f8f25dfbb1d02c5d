import { appendFileSync } from "node:fs";

/** Stands in for `vitest` in the test of `npm run setup`: writes that the conformance suite was run, and whether it was given a way in. */
const { ADMIN_BOOTSTRAP_TOKEN, AGENTAUTH_API_KEY, FAKE_WRANGLER } = process.env;
appendFileSync(
  `${FAKE_WRANGLER}/log.jsonl`,
  `${JSON.stringify({ args: ["vitest", ...process.argv.slice(2)], input: "" })}\n`,
);
process.exit(ADMIN_BOOTSTRAP_TOKEN || AGENTAUTH_API_KEY ? 0 : 1);
