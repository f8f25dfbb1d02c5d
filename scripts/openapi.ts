import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROUTES } from "../src/app.ts";
import { openApiDocument } from "../src/api/openapi.ts";
import { EVENT_DATA } from "../src/outbox/event-data.ts";
import { fail, ROOT } from "./local.ts";

/** Writes public/openapi.json from the routes; with `--check`, ends with an error if it is not what they say. */
const file = join(ROOT, "public/openapi.json");
const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
const text = `${JSON.stringify(openApiDocument(ROUTES, { version, events: EVENT_DATA }), null, 2)}\n`;
const present = existsSync(file) ? readFileSync(file, "utf8") : "";

if (!process.argv.includes("--check")) {
  writeFileSync(file, text);
  console.log(`public/openapi.json: ${present === text ? "as it was" : "written"}`);
} else if (present !== text) {
  fail("public/openapi.json is stale. Run `npm run openapi` and commit what it writes.");
} else {
  console.log("public/openapi.json is up to date.");
}
