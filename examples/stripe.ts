import { Stripe } from "stripe";
import { AgentAuthClient } from "agentauth/client";

const {
  AGENTAUTH_URL: baseUrl = "http://127.0.0.1:8787",
  AGENT_ID: agentId = "",
  API_KEY: apiKey = "",
} = process.env;
const client = new AgentAuthClient({ baseUrl, agentId, apiKey });

// The key is never sent: the gateway puts the company's in.
const stripe = new Stripe("sk_not_used", {
  httpClient: Stripe.createFetchHttpClient(client.proxy("stripe")),
});
const { data } = await stripe.customers.list({ limit: 3 });
console.log(data.map(({ id }) => id));
await client.close();
