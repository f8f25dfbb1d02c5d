import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import type * as z from "zod/mini";
import { explainRequest } from "../src/api/explain.ts";
import { limitsOf } from "../src/api/grants.ts";
import { expandGrants } from "../src/grants/grant.ts";
import { makeGrants, type GrantFault } from "../src/grants/put-grants.ts";
import { explain, type Explanation } from "../src/policy/explain.ts";
import { loadServices } from "../src/policy/services.ts";
import { describeFault, upstreamSettings } from "../src/config/upstream-settings.ts";
import { BUILT_IN_CATALOGUE } from "../src/permissions/catalogue.ts";
import { declaredSettings } from "./declared-settings.ts";
import { fail } from "./local.ts";
import { compileUpstreams } from "./upstreams.ts";

/**
 * Explains what the gateway would do with a request, by the same code, without calling anything.
 *
 * `npm run --silent explain -- github GET /repos/o/r/issues/5 [--permission github:issues:read]… [--header "name: value"]…
 * [--grant '{"permission": …, "where": …}']… [--body TEXT]`, or `-` for JSON lines `{service, method, path, headers?, body?,
 * permissions?, grants?}` from standard input; one JSON line each. With grants, a line has `limitable`, `limits` and `violations` as
 * well. The operator's own upstreams are read from upstreams/, wrangler.toml and .dev.vars.
 */
const USAGE =
  "npm run --silent explain -- SERVICE METHOD /PATH [--permission P]… [--header 'NAME: VALUE']… [--grant JSON]… [--body TEXT], or - for JSON lines";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    permission: { type: "string", multiple: true, default: [] },
    header: { type: "string", multiple: true, default: [] },
    grant: { type: "string", multiple: true, default: [] },
    body: { type: "string" },
  },
});

const { files, faults: fileFaults } = compileUpstreams();
if (fileFaults.length > 0) fail(fileFaults.join("\n"));
const { upstreams, faults } = upstreamSettings(declaredSettings(), files);
const { services, catalogue, faults: serviceFaults } = loadServices(upstreams, BUILT_IN_CATALOGUE);
if (faults.length + serviceFaults.length > 0) fail([...faults, ...serviceFaults.map(describeFault)].join("\n"));

if (positionals.length === 1 && positionals[0] === "-") await explainLines();
else if (positionals.length === 3) {
  const [service = "", method = "", path = ""] = positionals;
  const headers = Object.fromEntries(values.header.map((line) => split(line, ":")));
  const { body, permission: permissions } = values;
  const grants = values.grant.length > 0 ? { grants: values.grant.map(parsed) } : {};
  const request = explainRequest().safeParse({ service, method, path, headers, body, permissions, ...grants });
  if (!request.success)
    fail(request.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("\n"));
  const answer = explanationOf(request.data);
  if ("faults" in answer) fail(answer.faults.map(({ field, message }) => `${field}: ${message}`).join("\n"));
  console.log(JSON.stringify(answer));
} else fail(USAGE);

async function explainLines(): Promise<void> {
  let pending = "";
  // Every line gets one answer, also an empty one: the answers are matched by their position.
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    pending += `${JSON.stringify(answerOf(line))}\n`;
    if (pending.length > 65_536) {
      process.stdout.write(pending);
      pending = "";
    }
  }
  process.stdout.write(pending);
}

/** A grant of the command line; a text that is not JSON is left to the schema. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function explanationOf({
  grants,
  ...request
}: z.infer<ReturnType<typeof explainRequest>>): object | { faults: readonly GrantFault[] } {
  const now = Date.now();
  const made = makeGrants((grants ?? []).map(limitsOf), { services, catalogue }, now);
  if ("faults" in made) return made;
  const policy = { services, catalogue };
  const { explanation, reasons } = explain(policy, { ...request, grants: expandGrants(made.grants) }, now);
  const { limitable, limits, violations } = reasons;
  return grants ? { ...explanation, limitable, limits, violations } : explanation;
}

function answerOf(line: string): object {
  const request = read(line);
  const answer = "unreadable" in request ? request : explanationOf(request);
  if (!("faults" in answer) && !("unreadable" in answer)) return answer;
  process.exitCode = 1;
  const { service, method } = "unreadable" in request ? request.unreadable : request;
  return {
    service: typeof service === "string" ? service : "",
    method: typeof method === "string" ? method : "",
    path: null,
    required: null,
    all_required: [],
    decision: "refuse",
    code: "bad_line",
    dropped: [],
  } satisfies Explanation;
}

/** A line that is not a request. Its service and its method are kept if it has them. */
interface Unreadable {
  readonly unreadable: { readonly service?: unknown; readonly method?: unknown };
}

function read(line: string): z.infer<ReturnType<typeof explainRequest>> | Unreadable {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { unreadable: {} };
  }
  const parsed = explainRequest().safeParse(value);
  if (parsed.success) return parsed.data;
  return { unreadable: typeof value === "object" && value !== null ? value : {} };
}

function split(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, ""] : [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}
