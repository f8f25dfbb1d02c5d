import { AgentAuthClient, Permissions } from "agentauth/client";

// The services of your own that the gateway leads to: their permissions are completed and checked.
declare module "agentauth/client" {
  interface Services {
    sample: { orders: "read" | "write" };
  }
}

const baseUrl = process.env.AGENTAUTH_URL ?? "http://127.0.0.1:8787";

// The owner registers an agent. Its API key is shown this once.
const owner = new AgentAuthClient({ baseUrl });
const { agent, credentials } = await owner.registerAgent({
  name: "Support assistant",
  owner_email: "you@example.com",
  permissions: ["sample:orders:read", Permissions.GitHub.Issues.Read],
});

// The agent calls an API through the gateway. The client renews its tokens.
const proof = { agentId: agent.agent_id, apiKey: credentials.api_key };
const client = new AgentAuthClient({ baseUrl, ...proof });
const sample = client.proxy("sample");
const allowed = await sample("/orders/1");
console.log("GET /orders/1:", allowed.status, await allowed.json());

// A call without the permission is denied. The response says which permission it needs.
const denied = await sample("/orders/1", { method: "DELETE" });
console.log("DELETE /orders/1:", denied.status, await denied.json());

// Every call is recorded. Calls do not wait for it, so records appear a second or two later.
await new Promise((resolve) => setTimeout(resolve, 2000));
for await (const { timestamp, status, message } of client.activity(agent.agent_id)) {
  console.log(timestamp, status, message);
}
await client.close();
