import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Auth } from "../src/access/route.ts";
import { openApiDocument } from "../src/api/openapi.ts";
import { ROUTES } from "../src/app.ts";
import { ERRORS, titleOf, type ErrorCode } from "../src/http/errors.ts";
import { EVENT_DATA } from "../src/outbox/event-data.ts";
import { fail, ROOT } from "./local.ts";
import { narrowMarkdown } from "./narrow-markdown.ts";

/**
 * Writes public/openapi.json and the list of docs/api.md from the routes, and docs/errors.md from the list of error codes. With `--check` it writes nothing,
 * and ends with an error if a file is not what the code says.
 */
const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
/** Who may call a route, in the words of docs/api.md. */
const CALLERS: Readonly<Record<Auth, string>> = {
  none: "anybody",
  client: "OAuth client",
  registration: "`REGISTRATION`",
  bootstrap: "bootstrap token",
  bearer: "any agent",
  member: "any agent or person",
  self: "self",
  admin: "admin",
  own: "own",
  person: "person",
  oneself: "oneself",
  enrolling: "oneself",
  administrator: "administrator",
};

const FILES = {
  "public/openapi.json": `${JSON.stringify(openApiDocument(ROUTES, { version, events: EVENT_DATA }), null, 2)}\n`,
  "docs/errors.md": await narrowMarkdown(errorsPage()),
  "docs/api.md": await narrowMarkdown(apiPage()),
};

for (const [name, text] of Object.entries(FILES)) {
  const file = join(ROOT, name);
  const present = existsSync(file) ? readFileSync(file, "utf8") : "";
  if (!process.argv.includes("--check")) {
    writeFileSync(file, text);
    console.log(`${name}: ${present === text ? "as it was" : "written"}`);
  } else if (present !== text) {
    fail(`${name} is stale. Run \`npm run openapi\` and commit what it writes.`);
  } else {
    console.log(`${name} is up to date.`);
  }
}

/** docs/api.md with the list of all endpoints between its two marks. */
function apiPage(): string {
  const [begin, end] = ["<!-- endpoints: written by `npm run openapi` -->\n", "<!-- /endpoints -->"];
  const page = readFileSync(join(ROOT, "docs/api.md"), "utf8");
  const endpoints = [
    ...ROUTES.map(({ method, path, auth, summary }) => ({ call: `${method} ${path}`, who: CALLERS[auth], summary })),
    { call: "any method /proxy/{service}/…", who: "an agent with the permission", summary: "The upstream's response" },
    { call: "POST /mcp", who: "any agent", summary: "The Model Context Protocol: [mcp.md](mcp.md)" },
  ];
  const list = endpoints.map(({ call, who, summary }) => `- \`${call}\` (${who}): ${summary}.\n`).join("");
  return page.slice(0, page.indexOf(begin) + begin.length) + list + page.slice(page.indexOf(end));
}

/** The reference of errors, one item for each code. */
function errorsPage(): string {
  const rows = Object.entries(ERRORS).map(
    ([code, { status, text }]) => `- \`${code}\` (${status}, "${titleOf(code as ErrorCode)}"): ${text}`,
  );
  return `# Errors

Every error of AgentAuth is a JSON object:

| key | value |
| --- | --- |
| \`error\` | The message, for clients that show one field. \`Invalid credentials\`, \`Insufficient permissions\` and \`Rate limit exceeded\` stand here instead of their messages. |
| \`title\` | The title of the code. It does not change. |
| \`message\` | What happened and what to do about it, for people. It can change. |
| \`status\` | The HTTP status. |
| \`code\` | The code, for programs. It does not change. |
| \`request_id\` | Finds the request in the operator's log. |
| \`details\` | Each fault of an invalid request: \`field\` or \`permission\`, and \`message\`. |
| \`required\`, \`granted\` | With 403: the permission that is missing, and those that the caller has. |
| \`violations\` | With 403 \`constraint_violated\`: each field that is outside the limits of a grant, as \`field\`, \`constraint\` and \`actual\`. \`actual\` is cut after 100 characters, and null for a field that is missing, given twice or not plainly readable. |
| \`tier\`, \`limit\`, \`retry_after\` | With 429: the limit that is reached, and the seconds to wait. |
| \`upstream\` | The service that an error of the gateway is about. |

The codes, each with its status and its title, written by \`npm run openapi\` from
\`src/http/errors.ts\`:

${rows.join("\n")}
`;
}
