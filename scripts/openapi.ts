import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openApiDocument } from "../src/api/openapi.ts";
import { ROUTES } from "../src/app.ts";
import { ERRORS, titleOf, type ErrorCode } from "../src/http/errors.ts";
import { EVENT_DATA } from "../src/outbox/event-data.ts";
import { fail, ROOT } from "./local.ts";

/**
 * Writes public/openapi.json from the routes, and docs/errors.md from the list of error codes. With `--check` it writes nothing,
 * and ends with an error if a file is not what the code says.
 */
const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
const FILES = {
  "public/openapi.json": `${JSON.stringify(openApiDocument(ROUTES, { version, events: EVENT_DATA }), null, 2)}\n`,
  "docs/errors.md": errorsPage(),
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

/** The reference of errors, one row for each code. */
function errorsPage(): string {
  const rows = Object.entries(ERRORS).map(([code, { status, text }]) => [
    String(status),
    `\`${code}\``,
    titleOf(code as ErrorCode),
    text,
  ]);
  const table = [["status", "`code`", "`title`", "what is the matter"], ...rows];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, at) => cell.padEnd(widths[at]!)).join(" | ")} |`;
  const [head, ...body] = table.map(line);
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

The codes, written by \`npm run openapi\` from \`src/http/errors.ts\`:

${[head, line(widths.map((width) => "-".repeat(width))), ...body].join("\n")}
`;
}
