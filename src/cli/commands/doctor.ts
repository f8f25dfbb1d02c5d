import { show, type Call, type Command } from "../command.ts";
import { credentialsPath } from "../credentials.ts";
import { EXIT, type ExitCode } from "../failure.ts";
import { problemOf } from "../problem.ts";
import { table } from "../table.ts";
import { visible } from "../visible.ts";

/** One thing that was looked at. `fault`: something does not work. `warning`: something will not, or need not be so. */
interface Finding {
  readonly name: string;
  readonly state: "ok" | "off" | "warning" | "fault";
  /** What is the matter, and its cure. */
  readonly message: string;
}

/** Tokens are refused if the clock of a machine is this far from the deployment's, in milliseconds. */
const MAX_CLOCK_DIFFERENCE_MS = 30_000;

const STATES = { ok: "ok", off: "off", lagging: "warning", failing: "fault" } as const;

/** What can be seen without credentials: that the deployment answers, its name, and this machine's clock. */
async function lookFromOutside(url: string, signal: AbortSignal): Promise<Finding[]> {
  const began = Date.now();
  const response = await fetch(`${url}/.well-known/oauth-authorization-server`, { redirect: "manual", signal }).catch(
    () => undefined,
  );
  const { issuer } = ((await response?.json().catch(() => undefined)) ?? {}) as { issuer?: string };
  if (!response || issuer === undefined) {
    return [
      {
        name: "deployment",
        state: "fault",
        message: `Nothing answers at ${url} as AgentAuth does. Check --url or AGENTAUTH_URL, and whether it is deployed.`,
      },
    ];
  }
  const findings: Finding[] = [{ name: "deployment", state: "ok", message: `${url} answers.` }];
  // In development, 127.0.0.1 and localhost are the same deployment.
  const sameName = (text: string): string =>
    text.replace("//127.0.0.1:", "//localhost:").replace("//[::1]:", "//localhost:");
  findings.push(
    sameName(issuer) === sameName(url)
      ? { name: "issuer", state: "ok", message: `It calls itself ${issuer}.` }
      : {
          name: "issuer",
          state: "warning",
          message: `It calls itself ${issuer}: verifiers of tokens expect that. Use that address, or set ISSUER to ${url}.`,
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
  try {
    const { parts } = await connection.client.healthDetails(call);
    return parts.map(({ name, status, since, message, numbers }) => {
      const counts = Object.entries(numbers).map(([what, count]) => `${what} ${count}`);
      const said = message ?? (status === "off" ? "It is not set up." : "");
      return {
        name,
        state: STATES[status],
        message: [said, since && `Since ${since}.`, counts.length > 0 && `(${counts.join(", ")})`]
          .filter(Boolean)
          .join(" "),
      };
    });
  } catch (error) {
    const { message } = problemOf(error, call.signal);
    return [
      {
        name: "sign-in",
        state: "warning",
        message: `What the deployment says of itself could not be read. ${message}`,
      },
    ];
  }
}

async function doctor(call: Call): Promise<ExitCode> {
  const url = await call.url();
  const findings = await lookFromOutside(url, call.signal);
  if (findings[0]?.state === "ok") findings.push(...(await lookInside(call)));
  const faults = findings.filter(({ state }) => state === "fault").length;
  const warnings = findings.filter(({ state }) => state === "warning").length;
  show(call, { url, faults, warnings, findings }, () => {
    const rows = findings.map(({ name, state, message }) => [name, state, message]);
    const sum =
      faults + warnings === 0
        ? "Everything is in order."
        : `${faults} faults, ${warnings} warnings. Each says what to do.`;
    return `${table(["WHAT", "STATE", "WHAT TO DO"], rows)}\n\n${sum}\nCredentials are kept in ${visible(credentialsPath(call.terminal.env))}.`;
  });
  return faults > 0 ? EXIT.failed : EXIT.ok;
}

export const doctorCommands: readonly Command[] = [
  {
    path: ["doctor"],
    takes: "",
    words: { min: 0, max: 0 },
    summary: "Look for faults of the deployment, and say how to cure each",
    options: [],
    run: doctor,
  },
];
