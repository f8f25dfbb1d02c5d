import { AgentAuthClient } from "agentauth/client";

const { AGENTAUTH_URL: baseUrl = "", AGENT_ID: agentId = "", API_KEY: apiKey = "" } = process.env;
const agent = new AgentAuthClient({ baseUrl, agentId, apiKey });
const response = await agent.proxy("sample")("/orders/1");
console.log(response.status, await response.json());
