import type { Agent, AgentChangeResponse, AgentStatus, Grant, SetGrantsRequest } from "../../client/wire.ts";
import { readNumber, type Values } from "../arguments.ts";
import { show, type Call, type Command } from "../command.ts";
import { requireSignedIn, type Connection } from "../connection.ts";
import { usage } from "../failure.ts";
import { readMyself } from "../myself.ts";
import { noteMore, readRows, wantedRows } from "../paging.ts";
import { fields, table } from "../table.ts";
import { confirm } from "../terminal.ts";
import { visible } from "../visible.ts";

const listed = (agents: readonly Agent[], { terminal }: Call): string =>
  table(
    ["ID", "NAME", "OWNER", "STATUS", "TIER", "PERMISSIONS", "SINCE"],
    agents.map(({ agent_id, name, owner_email, status, tier, permissions, created_at }) => [
      agent_id,
      name,
      owner_email,
      status,
      tier,
      permissions.length === 1 ? permissions[0] : `${permissions.length}`,
      created_at.slice(0, 10),
    ]),
    terminal.stdout.columns,
  );

const grantText = ({ permission, where, expires_at }: Pick<Grant, "permission" | "where" | "expires_at">): string =>
  [permission, where && `where ${JSON.stringify(where)}`, expires_at && `until ${expires_at}`]
    .filter(Boolean)
    .join(" ");

/** What is shown once and never again goes to standard output, where it can be piped into a file or a vault. */
const keyNotice = "The API key is shown once. Keep it where the agent reads it, and nowhere else.";

/** Sets a status after showing whom it is about. */
async function setStatus(call: Call, status: AgentStatus, question: (agent: Agent) => string): Promise<void> {
  const connection = await call.connect();
  const [id = ""] = call.words;
  const { agent } = await connection.client.getAgent(id, call);
  if (agent.status !== status) {
    if (status === "active" && !call.values.has("yes")) {
      call.note(
        `${fields({ name: agent.name, owner: agent.owner_email, permissions: agent.permissions.join(" ") })}\n`,
      );
    }
    await confirm(call.terminal, question(agent), { isConfirmed: call.values.has("yes") || status !== "active" });
  }
  // What is activated is what was shown: the agent may have been changed while somebody read it. To stop it, nothing has to be as it was.
  const answer = await connection.send<AgentChangeResponse>({
    method: "PUT",
    path: `/agents/${encodeURIComponent(id)}/status`,
    data: { status, ...(status === "active" && { updated_at: agent.updated_at }) },
    token: await connection.token(),
    signal: call.signal,
  });
  show(call, answer, () => visible(answer.message));
}

/** Limits as the API returns them: a value alone stands for `eq`, and the fields in the order of their names. */
const inFull = (where: object): NonNullable<Where> =>
  Object.fromEntries(
    Object.entries(where as NonNullable<Where>)
      .map(([field, one]) => [field, typeof one === "object" ? one : { eq: one }] as const)
      .toSorted(([one], [other]) => (one < other ? -1 : 1)),
  );

type Where = SetGrantsRequest["grants"][number]["where"];

function readWhere(values: Values): Where {
  const text = values.text("where");
  if (text === undefined) return undefined;
  try {
    const where: unknown = JSON.parse(text);
    if (typeof where === "object" && where !== null && !Array.isArray(where)) return inFull(where);
  } catch {
    // Said below.
  }
  throw usage(`--where must be a JSON object, for example '{"path.owner":"octo"}'.`);
}

/** Two grants of the same permission with the same limits are one: its end is what may differ. */
const isSame = (one: Grant, other: { permission: string; where?: Where }): boolean =>
  one.permission === other.permission && limitsText(one.where) === limitsText(other.where);

const limitsText = (where: object | null | undefined): string => JSON.stringify(inFull(where ?? {}));

async function grant(call: Call): Promise<void> {
  const { client } = await call.connect();
  const [id = "", ...permissions] = call.words;
  const { values } = call;
  const where = readWhere(values);
  const expires_at = values.text("expires");
  const isRemoval = values.has("remove");
  if (isRemoval && expires_at !== undefined) throw usage("--remove takes grants away: it has no --expires.");
  const { grants, grants_version } = await client.getGrants(id, call);
  const limits = { ...(where && { where }), ...(expires_at && { expires_at }) };
  const wanted = permissions.map((permission) => Object.assign({ permission }, limits));
  const isNamed = (one: Grant): boolean =>
    // Without --where, a removal takes every grant of the permission.
    wanted.some((other) => (isRemoval && !where ? one.permission === other.permission : isSame(one, other)));
  const kept = grants.filter((one) => !isNamed(one));
  if (isRemoval && kept.length === grants.length) {
    throw usage(`The agent has no such grant. \`agentauth agents show ${id}\` lists what it has.`);
  }
  const after = isRemoval ? kept : [...kept, ...wanted];
  const before = new Set(grants.map(grantText));
  const now = new Set(after.map((one) => grantText(one as Grant)));
  const changes = [
    ...[...before].filter((one) => !now.has(one)).map((one) => `- ${visible(one)}`),
    ...[...now].filter((one) => !before.has(one)).map((one) => `+ ${visible(one)}`),
  ];
  if (values.has("dry-run")) {
    show(call, { dry_run: true, before: grants, after }, () => changes.join("\n") || "Nothing would change.");
    return;
  }
  if (!call.isJson && changes.length > 0) call.print(changes.join("\n"));
  const answer = await client.setGrants(id, after as SetGrantsRequest["grants"], grants_version, call);
  show(call, answer, () => visible(answer.message));
}

/** Whether the caller may read the grants of an agent that it can read. */
async function readsGrants(connection: Connection, agent: Agent): Promise<boolean> {
  const credential = requireSignedIn(connection);
  if (credential.kind === "person") return (await readMyself(connection)).person.role !== "owner";
  // An agent reads another one as an administrator only.
  return credential.agent_id !== agent.agent_id || agent.permissions.includes("*:*:*");
}

export const agentCommands: readonly Command[] = [
  {
    path: ["agents", "list"],
    takes: "",
    words: { min: 0, max: 0 },
    summary: "List agents, the newest first",
    options: ["limit", "all", "status", "owner", "search", "permission"],
    async run(call) {
      const { client } = await call.connect();
      const { values } = call;
      const [permission, another] = values.list("permission");
      if (another !== undefined) throw usage("agents list takes one --permission.");
      const filter = {
        status: values.text("status") as AgentStatus | undefined,
        owner_email: values.text("owner"),
        q: values.text("search"),
        permission,
      };
      const { rows, hasMore } = await readRows(wantedRows(call), 100, async (limit, cursor) => {
        const page = await client.listAgents({ limit, cursor, ...filter }, call);
        return { rows: page.agents, next: page.next_cursor };
      });
      show(call, { agents: rows, has_more: hasMore }, () =>
        rows.length === 0 ? "No agent is like that." : listed(rows, call),
      );
      noteMore(call, hasMore);
    },
  },
  {
    path: ["agents", "show"],
    takes: "AGENT_ID",
    words: { min: 1, max: 1 },
    summary: "Show one agent with its grants",
    options: [],
    async run(call) {
      const connection = await call.connect();
      const { client } = connection;
      const [id = ""] = call.words;
      const { agent, details } = await client.getAgent(id, call);
      // Who is no administrator reads the permissions, and not how far each reaches: asking would be recorded as a refusal.
      const grants = (await readsGrants(connection, agent)) ? await client.getGrants(id, call) : undefined;
      show(call, { agent, details, ...(grants && { grants: grants.grants }) }, () => {
        const reach = grants ? grants.grants.map(grantText) : agent.permissions;
        return `${fields({
          id: agent.agent_id,
          name: agent.name,
          owner: agent.owner_email,
          status: agent.status,
          tier: agent.tier,
          description: details.description,
          "rate limit": details.rate_limit === null ? "of the tier" : `${details.rate_limit} a minute`,
          addresses: details.allowed_ips?.join(" ") ?? "any",
          keys: details.key_count,
          sessions: details.session_count,
          "last verified": details.last_verified_at,
          "registered by": details.created_by?.name ?? details.created_by?.type ?? "a stranger",
          "approved by": details.approved_by?.name ?? details.approved_by?.type,
          created: agent.created_at,
          updated: agent.updated_at,
        })}\n\n${reach.length === 0 ? "No grants." : `Grants\n${reach.map((one) => `  ${visible(one)}`).join("\n")}`}`;
      });
    },
  },
  {
    path: ["agents", "register"],
    takes: "",
    words: { min: 0, max: 0 },
    summary: "Register an agent, and show its API key once",
    options: ["name", "owner", "permission", "description", "key-expires"],
    async run(call) {
      const { client } = await call.connect({ anonymous: true });
      const { values } = call;
      const name = values.text("name");
      const owner_email = values.text("owner");
      if (name === undefined || owner_email === undefined) throw usage("agents register needs --name and --owner.");
      const permissions = values.list("permission") as Agent["permissions"];
      const answer = await client.registerAgent(
        {
          name,
          owner_email,
          ...(permissions.length > 0 && { permissions }),
          description: values.text("description"),
          key_expires_in: readNumber(values.text("key-expires"), "key-expires", { min: 60, max: 157_680_000 }),
        },
        call,
      );
      const { agent, credentials } = answer;
      show(call, answer, () =>
        fields({ id: agent.agent_id, name: agent.name, status: agent.status, "API key": credentials.api_key }),
      );
      if (!call.isJson) call.note(keyNotice);
    },
  },
  {
    path: ["agents", "approve"],
    takes: "AGENT_ID",
    words: { min: 1, max: 1 },
    summary: "Make an agent active that waits for it, or that was suspended",
    options: ["yes"],
    run: (call) => setStatus(call, "active", ({ name }) => `Make ${visible(name)} active?`),
  },
  {
    path: ["agents", "suspend"],
    takes: "AGENT_ID",
    words: { min: 1, max: 1 },
    summary: "Suspend an agent: its tokens end, and `agents approve` undoes it",
    options: [],
    run: (call) => setStatus(call, "suspended", ({ name }) => `Suspend ${visible(name)}?`),
  },
  {
    path: ["agents", "revoke"],
    takes: "AGENT_ID",
    words: { min: 1, max: 1 },
    summary: "Revoke an agent for good",
    options: ["yes"],
    async run(call) {
      const connection = await call.connect();
      const { client } = connection;
      const [id = ""] = call.words;
      const { agent } = await client.getAgent(id, call);
      await confirm(call.terminal, `${visible(agent.name)} is revoked for good: it never works again.`, {
        isConfirmed: call.values.has("yes"),
        typed: agent.name,
      });
      const answer = await client.revokeAgent(id, call);
      show(call, answer, () => visible(answer.message));
    },
  },
  {
    path: ["agents", "grant"],
    takes: "AGENT_ID PERMISSION…",
    words: { min: 2, max: 51 },
    summary: "Give an agent permissions, or take them away, and show what changes",
    options: ["where", "expires", "remove", "dry-run"],
    run: grant,
  },
  {
    path: ["agents", "rotate"],
    takes: "AGENT_ID",
    words: { min: 1, max: 1 },
    summary: "Give an agent a new API key, which is shown once, in place of the former ones",
    options: ["overlap", "key"],
    async run(call) {
      const connection = await call.connect();
      const credential = requireSignedIn(connection);
      const [id = ""] = call.words;
      const { values } = call;
      const answer = await connection.client.rotateAgentKey(
        id,
        {
          overlap_seconds: readNumber(values.text("overlap"), "overlap", { min: 0, max: 2_592_000 }),
          key_id: values.text("key"),
        },
        call,
      );
      show(call, answer, () =>
        fields({ "API key": answer.credentials.api_key, "former key until": answer.previous_key_expires_at }),
      );
      if (!call.isJson) call.note(keyNotice);
      if (credential.kind === "agent" && credential.agent_id === id) {
        call.note("It was the key of this command's own agent: run `agentauth login --agent` with the new one.");
      }
    },
  },
];
