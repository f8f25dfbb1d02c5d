import { AgentAuthClient, Permissions, type Permission } from "agentauth/client";

const baseUrl = process.env.AGENTAUTH_URL ?? "http://127.0.0.1:8787";

// The owner registers an agent; its API key is shown this once.
const owner = new AgentAuthClient({ baseUrl });
const { agent, credentials } = await owner.registerAgent({
  name: "Support assistant",
  owner_email: "you@example.com",
  permissions: ["sample:orders:read" satisfies Permission, Permissions.GitHub.Issues.Read],
});

// The agent proves itself on its first call, and keeps its tokens good by itself.
const client = new AgentAuthClient({ baseUrl, agentId: agent.agent_id, apiKey: credentials.api_key });
const orders = client.proxy("sample");
console.log(await (await orders("/orders/1")).json());

// What it was not granted, it is told.
const denied = await orders("/orders/1", { method: "DELETE" });
const { required, granted } = (await denied.json()) as { required: string; granted: string[] };
console.log(denied.status, { required, granted });

for await (const { timestamp, status, message } of client.activity(agent.agent_id)) {
  console.log(timestamp, status, message);
}
await client.close();
