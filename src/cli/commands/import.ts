import { createHash } from "node:crypto";
import { open, readFile, type FileHandle } from "node:fs/promises";
import type { RegisterAgentResponse } from "../../client/wire.ts";
import { AgentAuthError } from "../../client/errors.ts";
import { show, type Call, type Command } from "../command.ts";
import { requireSignedIn, type Connection } from "../connection.ts";
import { EXIT, Failure, usage, type ExitCode } from "../failure.ts";
import { formatOf, readExport, type Format, type ImportedAgent, type ImportFile } from "../export-file.ts";
import { fields } from "../table.ts";
import { confirm, progress } from "../terminal.ts";
import { visible } from "../visible.ts";

/** A line of the file of results: the agent there, and the one that it became. It has API keys, so only its owner reads it. */
interface Result {
  readonly source: string;
  readonly agent_id: string;
  /** Null if the answer that had it was lost for more than 10 minutes: rotate the agent's key. */
  readonly api_key: string | null;
  readonly name: string;
}

async function readFileText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw usage(
      `${visible(file)} cannot be read (${(error as NodeJS.ErrnoException).code}). Name the file of the export.`,
    );
  }
}

/** What an earlier run has done already. */
async function readResults(file: string): Promise<Map<string, Result>> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const results = new Map<string, Result>();
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    let result: Result | undefined;
    try {
      result = JSON.parse(line) as Result;
    } catch {
      // The last line of a run that was killed while it wrote. Its agent is registered again under the same key: it stays one.
    }
    if (typeof result?.source === "string") results.set(result.source, result);
  }
  return results;
}

/** What the deployment would refuse, found out before anything is registered. */
async function faultsOf(connection: Connection, { agents }: ImportFile, call: Call): Promise<ImportFile["faults"]> {
  const { permissions, wildcards } = await connection.client.listPermissions(call);
  const known = new Set(Object.values(permissions).flat());
  const resources = new Set([...known].map((one) => one.split(":").slice(0, 2).join(":")));
  const isKnown = (permission: string): boolean => {
    if (known.has(permission)) return true;
    const [service = "", resource = "", action, ...rest] = permission.split(":");
    if (action !== "*" || rest.length > 0) return false;
    return resource === "*" ? Object.hasOwn(permissions, service) : resources.has(`${service}:${resource}`);
  };
  return agents.flatMap(({ place, permissions: wanted }) =>
    wanted.flatMap((permission) => {
      if (permission === wildcards.admin) {
        return [{ place, message: `${permission} is not imported: give it to the agent yourself, if it needs it` }];
      }
      return isKnown(permission) ? [] : [{ place, message: `${permission} is not a permission of this deployment` }];
    }),
  );
}

/** The same for the same agent, to the same deployment, by the same caller: what is repeated is done once. */
function idempotencyKey(url: string, caller: string, { place: _place, ...agent }: ImportedAgent): string {
  return `import-${createHash("sha256")
    .update(JSON.stringify([url, caller, agent]))
    .digest("hex")}`;
}

async function importAgent(connection: Connection, agent: ImportedAgent, caller: string, call: Call): Promise<Result> {
  const { name, owner_email, permissions, description, tier, status, source } = agent;
  const answer = await connection.send<
    Omit<RegisterAgentResponse, "credentials"> & Partial<Pick<RegisterAgentResponse, "credentials">>
  >({
    method: "POST",
    path: "/agents/register",
    data: { name, owner_email, ...(permissions.length > 0 && { permissions }), description },
    token: await connection.token(),
    idempotencyKey: idempotencyKey(connection.url, caller, agent),
    signal: call.signal,
  });
  const { agent_id } = answer.agent;
  if (tier !== answer.agent.tier) await connection.client.updateAgentTier(agent_id, tier, call);
  if (status !== answer.agent.status) await connection.client.updateAgentStatus(agent_id, status, call);
  return { source, agent_id, api_key: answer.credentials?.api_key ?? null, name };
}

/** Appends a line, and waits until it is on the disk: a key that is lost cannot be had again. */
async function append(file: FileHandle, result: Result): Promise<void> {
  await file.appendFile(`${JSON.stringify(result)}\n`);
  await file.datasync();
}

async function runImport(call: Call): Promise<ExitCode> {
  const { values, terminal, words, signal } = call;
  const [path = ""] = words;
  const format = (values.text("format") as Format | undefined) ?? formatOf(path);
  if (!format) throw usage("What is the file? Its name says neither .jsonl, .json nor .csv: give --format.");
  const output = values.text("output") ?? `${path}.imported.jsonl`;
  let file: ImportFile;
  try {
    file = readExport(await readFileText(path), format);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw usage(`${visible(path)} is not ${format} (${visible(error.message)}). Give --format, or export it again.`);
  }
  const connection = await call.connect();
  const credential = requireSignedIn(connection);
  const caller = credential.kind === "agent" ? credential.agent_id : "person";
  const faults = [...file.faults, ...(await faultsOf(connection, file, call))];
  const done = await readResults(output);
  const waiting = file.agents.filter(({ source }) => !done.has(source));
  const summary = {
    agents: file.agents.length,
    revoked: file.revoked,
    imported_before: file.agents.length - waiting.length,
    to_import: waiting.length,
    faults,
  };
  const isDryRun = values.has("dry-run");
  if (isDryRun || faults.length > 0) {
    show(call, { dry_run: true, ...summary }, () =>
      [
        fields({
          agents: summary.agents,
          "left out, revoked": summary.revoked,
          "imported before": summary.imported_before,
          "to import": summary.to_import,
          faults: faults.length,
        }),
        ...faults.slice(0, 100).map(({ place, message }) => `  ${visible(place)}: ${visible(message)}`),
        ...(faults.length > 100 ? [`  and ${faults.length - 100} more`] : []),
        faults.length > 0
          ? "\nNothing was imported. Correct the file, and run the command again."
          : "\nNothing was imported: this was a dry run.",
      ].join("\n"),
    );
    return faults.length > 0 ? EXIT.invalid : EXIT.ok;
  }
  if (waiting.length === 0) {
    show(call, { ...summary, imported: 0, without_key: 0, output }, () =>
      summary.imported_before > 0
        ? `All ${summary.imported_before} agents were imported before: there is nothing to do. Their ids and API keys are in ${visible(output)}.`
        : "The file has no agent to import: there is nothing to do.",
    );
    return EXIT.ok;
  }
  if (!call.isJson) {
    call.note(
      `${waiting.length} agents are registered anew, each with a new id and a new API key, which are written to ${visible(output)}.`,
    );
  }
  await confirm(terminal, "Go on?", { isConfirmed: values.has("yes") });
  const results = await open(output, "a", 0o600);
  const shown = progress(terminal);
  let imported = 0;
  let withoutKey = 0;
  try {
    if (((await results.stat()).mode & 0o077) !== 0 && process.platform !== "win32") {
      throw usage(
        `Others may read ${visible(output)}, which gets API keys. Run \`chmod 600\` on it, or name another --output.`,
      );
    }
    // What a killed run has begun to write ends where the next line begins.
    if (done.size > 0) await results.appendFile("\n");
    for (const agent of waiting) {
      shown.show(`${imported} of ${waiting.length} agents`);
      const result = await importAgent(connection, agent, caller, call).catch((error: unknown) => {
        shown.end();
        if (error instanceof AgentAuthError && !signal.aborted) {
          call.note(
            `agentauth: ${agent.place} (${visible(agent.name)}) could not be imported. ${imported} agents were.`,
          );
          call.note("Run the same command again to go on where it stopped: nothing is imported twice.");
        }
        throw error;
      });
      await append(results, result);
      imported += 1;
      if (result.api_key === null) withoutKey += 1;
    }
  } finally {
    shown.end();
    await results.close();
  }
  show(call, { ...summary, imported, without_key: withoutKey, output }, () =>
    [
      `${imported} agents are imported. Their ids and API keys are in ${visible(output)}, which only you may read.`,
      ...(withoutKey > 0
        ? [
            `${withoutKey} of them have no key there, because the answer was lost: \`agentauth agents rotate\` gives them one.`,
          ]
        : []),
    ].join("\n"),
  );
  if (signal.aborted) throw new Failure(EXIT.interrupted, "interrupted", "Interrupted.");
  return EXIT.ok;
}

export const importCommands: readonly Command[] = [
  {
    path: ["import"],
    takes: "FILE",
    words: { min: 1, max: 1 },
    summary: "Register the agents of another program's export (JSON lines, JSON or CSV)",
    options: ["format", "output", "dry-run", "yes"],
    run: runImport,
  },
];
