import { checkApiKey } from "../../client/api-key.ts";
import { AgentAuthClient } from "../../client/client.ts";
import { show, type Call, type Command } from "../command.ts";
import { requireSignedIn } from "../connection.ts";
import { credentialsPath, forgetCredential, keepCredential, readCredential } from "../credentials.ts";
import { signInByDevice } from "../device-grant.ts";
import { usage } from "../failure.ts";
import { readMyself } from "../myself.ts";
import { CLIENT_ID, postForm } from "../oauth.ts";
import { fields } from "../table.ts";
import { askLines, canAsk, readStdin } from "../terminal.ts";
import { visible } from "../visible.ts";

/** An agent's id and its key: asked for, or the two lines of standard input. @throws {Failure} */
async function readKey({ terminal }: Call): Promise<{ agentId: string; apiKey: string }> {
  if (canAsk(terminal)) {
    const [agentId = "", apiKey = ""] = await askLines(terminal, [
      { text: "Agent id: " },
      { text: "API key (not shown): ", isSecret: true },
    ]);
    return { agentId, apiKey };
  }
  const [agentId = "", apiKey = "", ...rest] = (await readStdin(terminal, 1000))
    .split(/\r?\n/)
    .map((line) => line.trim());
  if (agentId === "" || apiKey === "" || rest.some((line) => line !== "")) {
    throw usage("Standard input must be two lines: the agent's id and its API key.");
  }
  return { agentId, apiKey };
}

async function loginAgent(call: Call, url: string): Promise<void> {
  const { agentId, apiKey } = await readKey(call);
  checkApiKey(apiKey);
  const client = new AgentAuthClient({ baseUrl: url, timeout: call.timeout });
  const { agent, token } = await client.verifyAgent({ agent_id: agentId, api_key: apiKey }, call);
  await keepCredential(call.terminal.env, url, {
    kind: "agent",
    agent_id: agent.agent_id,
    api_key: apiKey,
    access_token: token.access_token,
    expires_at: Date.now() + token.expires_in * 1000,
  });
  show(
    call,
    { url, agent },
    () => `Signed in to ${visible(url)} as ${visible(agent.name)} (${visible(agent.agent_id)}).`,
  );
}

async function loginPerson(call: Call, url: string): Promise<void> {
  const { access_token, expires_in } = await signInByDevice(
    url,
    ({ page, code, seconds }) =>
      call.note(
        `Open ${visible(page)} in a browser, sign in, and type the code ${visible(code)}\nIt is good for ${Math.floor(seconds / 60)} minutes. Never type a code that somebody has sent you.`,
      ),
    call,
  );
  await keepCredential(call.terminal.env, url, {
    kind: "person",
    access_token,
    expires_at: Date.now() + expires_in * 1000,
  });
  const { person, session } = await readMyself(await call.connect());
  show(
    call,
    { url, person, expires_at: session.expires_at },
    () =>
      `Signed in to ${visible(url)} as ${visible(person.name)} (${visible(person.email)}), until ${session.expires_at}.`,
  );
}

export const signInCommands: readonly Command[] = [
  {
    path: ["login"],
    takes: "",
    words: { min: 0, max: 0 },
    summary: "Sign in as a person, in the browser; or with --agent as an agent, whose id and key are asked for",
    options: ["agent"],
    async run(call) {
      const url = await call.url();
      await (call.values.has("agent") ? loginAgent(call, url) : loginPerson(call, url));
      if (call.terminal.env.AGENTAUTH_API_KEY) {
        call.note("AGENTAUTH_API_KEY is set: the commands go on as the agent of the environment.");
      }
    },
  },
  {
    path: ["logout"],
    takes: "",
    words: { min: 0, max: 0 },
    summary: "End the command's session, and forget the key and the tokens",
    options: [],
    async run(call) {
      const url = await call.url();
      const { env } = call.terminal;
      const credential = await readCredential(env, url);
      if (!credential) {
        show(call, { signed_out: false }, () => `You were not signed in to ${visible(url)}.`);
        return;
      }
      await forgetCredential(env, url);
      const { kind, access_token: token } = credential;
      const ended =
        token === undefined
          ? undefined
          : await postForm(
              url,
              "/oauth/revoke",
              { token, ...(kind === "person" && { client_id: CLIENT_ID }) },
              { signal: call.signal, timeout: call.timeout, ...(kind === "agent" && { token }) },
            ).catch(() => undefined);
      show(call, { signed_out: true, session_ended: ended?.ok === true }, () =>
        ended?.ok === true || token === undefined
          ? `Signed out of ${visible(url)}.`
          : `The credentials for ${visible(url)} are forgotten. The session could not be ended there: it ends by itself, or end it in your account.`,
      );
    },
  },
  {
    path: ["whoami"],
    takes: "",
    words: { min: 0, max: 0 },
    summary: "Say who is signed in, to which deployment",
    options: [],
    async run(call) {
      const connection = await call.connect();
      const { url, client } = connection;
      const credential = requireSignedIn(connection);
      if (credential.kind === "person") {
        const { person, session } = await readMyself(connection);
        show(call, { url, person, expires_at: session.expires_at }, () =>
          fields({
            deployment: url,
            person: person.name,
            email: person.email,
            role: person.role,
            until: session.expires_at,
          }),
        );
        return;
      }
      const { agent } = await client.getAgent(credential.agent_id, call);
      show(call, { url, agent }, () =>
        fields({
          deployment: url,
          agent: agent.name,
          id: agent.agent_id,
          status: agent.status,
          permissions: agent.permissions.join(" "),
          credentials: call.terminal.env.AGENTAUTH_API_KEY ? "the environment" : credentialsPath(call.terminal.env),
        }),
      );
    },
  },
];
