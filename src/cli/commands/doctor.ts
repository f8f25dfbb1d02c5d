import { AgentAuthError, toError } from "../../client/errors.ts";
import { fetchWithin, parseJson, readText } from "../../client/transport.ts";
import type { HealthDetailsResponse, SettingsResponse } from "../../client/wire.ts";
import { show, type Call, type Command } from "../command.ts";
import type { Connection } from "../connection.ts";
import { contradictions } from "../contradictions.ts";
import { credentialsPath, namesDeployment } from "../credentials.ts";
import { EXIT, usage, type ExitCode } from "../failure.ts";
import type { Finding } from "../finding.ts";
import { cloneOf, lookAtClone } from "../local-clone.ts";
import { problemOf } from "../problem.ts";
import { table } from "../table.ts";
import { visible } from "../visible.ts";

/** Tokens are refused if the clock of a machine is this far from the deployment's, in milliseconds. */
const MAX_CLOCK_DIFFERENCE_MS = 30_000;

const STATES = { ok: "ok", off: "off", lagging: "warning", failing: "fault" } as const;

/** The metadata of a deployment, or the answer of one that is not set up. */
interface Described {
  readonly issuer?: string;
  readonly code?: string;
  readonly details?: readonly { readonly message?: string }[];
}

/** What can be seen without credentials: that the deployment answers, its name, and this machine's clock. */
async function lookFromOutside(call: Call, baseUrl: string): Promise<Finding[]> {
  const url = `${baseUrl}/.well-known/oauth-authorization-server`;
  const began = Date.now();
  let response: Response;
  let answer: Described;
  try {
    const init = { headers: { accept: "application/json" } };
    const [head, text] = await fetchWithin(
      { baseUrl, timeout: call.timeout, fetch },
      url,
      init,
      [call.signal],
      readText,
    );
    response = head;
    answer = (parseJson(text) ?? {}) as Described;
    const { code, details } = answer;
    // A deployment that lacks a binding or a setting answers nothing else, and names each.
    if (code === "misconfigured" && details && details.length > 0) {
      return details.map(({ message }) => ({ name: "configuration", state: "fault", message: String(message) }));
    }
    if (!response.ok || typeof answer.issuer !== "string") throw toError(response, answer, url);
  } catch (error) {
    if (call.signal.aborted) throw error;
    return [{ name: "deployment", state: "fault", message: problemOf(error, call.signal).message }];
  }
  const { issuer } = answer;
  const findings: Finding[] = [{ name: "deployment", state: "ok", message: `${baseUrl} answers.` }];
  // In development, 127.0.0.1 and localhost are the same deployment.
  const sameName = (text: string): string =>
    text.replace("//127.0.0.1:", "//localhost:").replace("//[::1]:", "//localhost:");
  findings.push(
    sameName(issuer) === sameName(baseUrl)
      ? { name: "issuer", state: "ok", message: `It calls itself ${issuer}.` }
      : {
          name: "issuer",
          state: "warning",
          message: `It calls itself ${issuer}: verifiers of tokens expect that. Use that address, or set ISSUER to ${baseUrl}.`,
        },
  );
  const date = Date.parse(response.headers.get("date") ?? "");
  // The header has whole seconds, and the answer took its time.
  const difference = Number.isNaN(date) ? 0 : Math.max(0, began - 1000 - date, date - Date.now() - 1000);
  findings.push(
    difference <= MAX_CLOCK_DIFFERENCE_MS
      ? { name: "clock", state: "ok", message: "This machine and the deployment have the same time." }
      : {
          name: "clock",
          state: "fault",
          message: `This machine's clock is ${Math.round(difference / 1000)} seconds off the deployment's: assertions that it signs are refused. Let it be set by NTP.`,
        },
  );
  return findings;
}

const MIGRATE =
  "`npm run deploy -- production` does it before it deploys; or npx wrangler d1 migrations apply DB --remote, and the same with AUDIT_DB.";

/** What is counted: dead letters, what each pepper still verifies (an old one can go at 0), and who would gain by new rules. */
function countsFindings(counts: NonNullable<HealthDetailsResponse["counts"]>): Finding[] {
  const { peppers, peppers_complete: isWhole, gains, gains_complete: areAll, deliveries_given_up: givenUp } = counts;
  const more = isWhole ? "" : "more than ";
  const findings = peppers.map(({ id, configured, keys, sessions }): Finding => {
    const name = `pepper ${id ?? "of a former version"}`;
    const bearing = `${more}${countOf(keys, "API key")} and ${more}${countOf(sessions, "session")} bear it`;
    if (!configured && id !== null) {
      return {
        name,
        state: keys + sessions > 0 ? "fault" : "ok",
        message: `SECRET_PEPPER has no such key, and ${bearing}: they are refused. Put it back behind the first one.`,
      };
    }
    const canGo = keys + sessions === 0 && isWhole && peppers.length > 1;
    return {
      name,
      state: "ok",
      message: `${bearing}.${canGo ? " If it is not the first of SECRET_PEPPER, it can go." : ""}`,
    };
  });
  findings.push(
    givenUp === 0
      ? { name: "dead letters", state: "ok", message: "The queue has given up none of the last deliveries." }
      : {
          name: "dead letters",
          state: "warning",
          message: `The queue gave up ${countOf(givenUp, "delivery", "deliveries")} of the last 1000 that failed. Send them again: agentauth deliveries redeliver --failed.`,
        },
  );
  for (const { agent_id, permission, lacks } of gains) {
    findings.push({
      name: "new rules",
      state: "warning",
      message: `${agent_id} has ${permission} from before ${lacks.join(", ")}, and does not have that. If it should: agentauth agents grant ${agent_id} ${lacks.join(" ")}.`,
    });
  }
  if (!areAll) findings.push({ name: "new rules", state: "warning", message: "There are more agents like that." });
  return findings;
}

const countOf = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

/** Variables that are no settings, and settings that contradict each other or are wider than they should be. */
function settingsFindings({ settings, secrets, warnings }: SettingsResponse): Finding[] {
  const faults = [
    ...warnings.map((warning) => `${warning} Rename it or remove it, and deploy again.`),
    ...contradictions(settings, secrets),
  ];
  return faults.length === 0
    ? [{ name: "settings", state: "ok", message: "Every variable is a setting, and none contradicts another." }]
    : faults.map((message) => ({ name: "settings", state: "warning", message }));
}

/** Services with some of their secrets only; with `--check`, whether each credential works. */
async function credentialFindings(connection: Connection, call: Call): Promise<Finding[]> {
  const { services } = await connection.client.listServices(call);
  const connected = services.filter(({ secrets }) => secrets.length > 0);
  const names = connected.map(({ name }) => name).join(", ");
  const own = services
    .filter(
      ({ built_in, base_url, credential, secrets }) =>
        !built_in && base_url && credential !== "none" && secrets.length === 0,
    )
    .map(({ name }): Finding => ({
      name: `service ${name}`,
      state: "warning",
      message: `No secret of it is set: requests go nowhere. npx wrangler secret put UPSTREAM_${name.toUpperCase().replaceAll("-", "_")}_TOKEN.`,
    }));
  if (!call.values.has("check")) {
    const message =
      connected.length === 0
        ? "No service has a credential: set UPSTREAM_<NAME>_TOKEN for those that agents call."
        : `Set for ${names}. \`agentauth doctor --check\` sends each a small request to see whether it works.`;
    return [...own, { name: "credentials", state: connected.length === 0 ? "warning" : "ok", message }];
  }
  for (const { name } of connected) {
    try {
      const { outcome, message } = await connection.client.checkService(name, call);
      const state = outcome === "works" ? "ok" : outcome === "unclear" ? "warning" : "fault";
      own.push({ name: `service ${name}`, state, message });
    } catch (error) {
      // An auditor sees which credentials there are, and sends nothing with them.
      if (!isDenied(error)) throw error;
      const message = "Only administrators may try credentials. Ask one to run `agentauth doctor --check`.";
      return [...own, { name: "credentials", state: "skipped", message }];
    }
  }
  return own;
}

/** Whether an answer says that who is signed in may not do this, whatever they try. */
const isDenied = (error: unknown): boolean =>
  error instanceof AgentAuthError && (error.code === "role_required" || error.code === "insufficient_permissions");

/** What the deployment says of itself to an administrator or an auditor. */
async function lookInside(call: Call): Promise<Finding[]> {
  const connection = await call.connect({ anonymous: true });
  if (!connection.credential) {
    return [
      {
        name: "sign-in",
        state: "warning",
        message: "You are not signed in, so only what everybody sees was looked at. Run `agentauth login`.",
      },
    ];
  }
  const findings: Finding[] = [];
  try {
    const { parts, counts } = await connection.send<HealthDetailsResponse>({
      method: "GET",
      path: "/health/details?counts=true",
      token: await connection.token(),
    });
    findings.push(...parts.map(partFinding));
    if (counts) findings.push(...countsFindings(counts));
    findings.push(...settingsFindings(await connection.client.getSettings(call)));
    findings.push(...(await credentialFindings(connection, call)));
  } catch (error) {
    if (call.signal.aborted) throw error;
    // What was found before stands.
    findings.push(
      isDenied(error)
        ? {
            name: "details",
            state: "skipped",
            message:
              "What the deployment says of its parts, settings and credentials is for administrators and auditors. You are signed in, and neither: ask one of them to run `agentauth doctor`.",
          }
        : {
            name: "details",
            state: "warning",
            message: `What the deployment says of itself could not be read. ${problemOf(error, call.signal).message}`,
          },
    );
  }
  return findings;
}

/** A part of the deployment, as it describes itself. */
function partFinding({ name, status, since, message, numbers }: HealthDetailsResponse["parts"][number]): Finding {
  const counts = Object.entries(numbers).map(([what, count]) => `${what} ${count}`);
  const said = message ?? (status === "off" ? "It is not set up." : "");
  return {
    name,
    state: STATES[status],
    message: [
      said,
      name === "migrations" && status !== "ok" && MIGRATE,
      since && `Since ${since}.`,
      counts.length > 0 && `(${counts.join(", ")})`,
    ]
      .filter(Boolean)
      .join(" "),
  };
}

async function doctor(call: Call): Promise<ExitCode> {
  const { env } = call.terminal;
  const clone = cloneOf();
  const isLocal =
    call.values.has("local") || (clone !== undefined && !(await namesDeployment(env, call.values.text("url"))));
  if (!isLocal) return lookAt(call, { url: await call.url() });
  if (call.values.text("url") !== undefined || call.values.has("check")) {
    throw usage("--local looks at the clone on this machine: it goes without --url and --check.");
  }
  if (clone === undefined) {
    throw usage(
      "This program does not lie in a clone of AgentAuth: --local is for `npx --no-install agentauth` there.",
    );
  }
  return lookAt(call, { clone });
}

/** Shows what is found at a deployment or in a clone. */
async function lookAt(call: Call, place: { url: string } | { clone: string }): Promise<ExitCode> {
  const findings =
    "clone" in place ? await lookAtClone(place.clone, call.signal) : await lookFromOutside(call, place.url);
  if ("url" in place && findings[0]?.state === "ok") findings.push(...(await lookInside(call)));
  const faults = findings.filter(({ state }) => state === "fault").length;
  const warnings = findings.filter(({ state }) => state === "warning").length;
  show(call, { ...place, faults, warnings, findings }, () => {
    const rows = findings.map(({ name, state, message }) => [name, state, message]);
    const isWhole = findings.every(({ state }) => state !== "skipped");
    const sum =
      faults + warnings === 0
        ? `${isWhole ? "Everything" : "Everything that was looked at"} is in order.`
        : `${countOf(faults, "fault")}, ${countOf(warnings, "warning")}. Each says what to do.`;
    const end =
      "clone" in place
        ? `This was the clone in ${visible(place.clone)}. For a deployment: agentauth doctor --url https://…`
        : `Credentials are kept in ${visible(credentialsPath(call.terminal.env))}.`;
    return `${table(["WHAT", "STATE", "WHAT TO DO"], rows)}\n\n${sum}\n${end}`;
  });
  return faults > 0 ? EXIT.failed : EXIT.ok;
}

export const doctorCommands: readonly Command[] = [
  {
    path: ["doctor"],
    takes: "",
    words: { min: 0, max: 0 },
    summary: "Look for faults of the deployment, or of the clone that the program lies in, and say how to cure each",
    options: ["check", "local"],
    run: doctor,
  },
];
