import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { explain, type Explanation, type ExplainRequest } from "../src/policy/explain.ts";
import { explainRequest } from "../src/api/explain.ts";
import { loadServices } from "../src/policy/services.ts";
import { describeFault, upstreamSettings } from "../src/config/upstream-settings.ts";
import { BUILT_IN_CATALOGUE } from "../src/permissions/catalogue.ts";
import { declaredSettings } from "./declared-settings.ts";
import { fail } from "./local.ts";
import { compileUpstreams } from "./upstreams.ts";

/**
 * Explains what the gateway would do with a request, by the same code, without calling anything.
 *
 * `npm run --silent explain -- github GET /repos/o/r/issues/5 [--permission github:issues:read]… [--header "name: value"]…`,
 * or `-` for JSON lines `{service, method, path, headers?, permissions?}` from standard input; one JSON line each. The
 * operator's own upstreams are read from upstreams/, wrangler.toml and .dev.vars.
 */
const USAGE =
  "npm run --silent explain -- SERVICE METHOD /PATH [--permission P]… [--header 'NAME: VALUE']…, or - for JSON lines";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    permission: { type: "string", multiple: true, default: [] },
    header: { type: "string", multiple: true, default: [] },
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
  console.log(JSON.stringify(explanationOf({ service, method, path, headers, permissions: values.permission })));
} else fail(USAGE);

async function explainLines(): Promise<void> {
  let pending = "";
  // Every line gets one answer, also an empty one: the answers are matched by their position.
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    pending += `${JSON.stringify(explanationOf(read(line)))}\n`;
    if (pending.length > 65_536) {
      process.stdout.write(pending);
      pending = "";
    }
  }
  process.stdout.write(pending);
}

function explanationOf(request: ExplainRequest | Unreadable): Explanation {
  if (!("unreadable" in request)) return explain({ services, catalogue }, request).explanation;
  process.exitCode = 1;
  const { service, method } = request.unreadable;
  return {
    service: typeof service === "string" ? service : "",
    method: typeof method === "string" ? method : "",
    path: null,
    required: null,
    all_required: [],
    decision: "refuse",
    code: "bad_line",
    dropped: [],
  };
}

/** A line that is not a request. Its service and its method are kept if it has them. */
interface Unreadable {
  readonly unreadable: { readonly service?: unknown; readonly method?: unknown };
}

function read(line: string): ExplainRequest | Unreadable {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { unreadable: {} };
  }
  const parsed = explainRequest.safeParse(value);
  if (parsed.success) return parsed.data;
  return { unreadable: typeof value === "object" && value !== null ? value : {} };
}

function split(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, ""] : [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}
