import { fail } from "./local.ts";
import { deploy } from "./setup/deploy.ts";
import { Wrangler } from "./setup/wrangler.ts";

/**
 * Applies the migrations, and then deploys the Worker that needs them: `npm run deploy -- production`. Without an environment: what
 * stands at the top of wrangler.toml, as "Deploy to Cloudflare" does. With `--dry-run` the commands are printed, and none runs.
 */
const args = process.argv.slice(2);
const isDryRun = args.includes("--dry-run");
const [environment = "", ...rest] = args.filter((arg) => arg !== "--dry-run");
if (rest.length > 0 || environment.startsWith("-")) fail("Run: npm run deploy -- production [--dry-run]");
deploy(new Wrangler({ environment, isDryRun }));
