import { join } from "node:path";
import { gatherAssets } from "./assets.ts";
import { fail, ROOT } from "./local.ts";
import { writeUpstreams } from "./upstreams.ts";

/** What `wrangler dev` and `wrangler deploy` need before they read the Worker (`[build]` in wrangler.toml), in one process. */
const inRoot = (name: string) => join(ROOT, name);
const faults = writeUpstreams(inRoot("upstreams"), inRoot("dist/upstreams.js"), inRoot("wrangler.toml"));
if (faults.length > 0) fail(faults.join("\n"));
gatherAssets(inRoot("dist/public"));
