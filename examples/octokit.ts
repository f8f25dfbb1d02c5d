import { Octokit } from "@octokit/rest";
import { AgentAuthClient } from "agentauth/client";

const {
  AGENTAUTH_URL: baseUrl = "http://127.0.0.1:8787",
  AGENT_ID: agentId = "",
  API_KEY: apiKey = "",
} = process.env;
const client = new AgentAuthClient({ baseUrl, agentId, apiKey });

const octokit = new Octokit({ request: { fetch: client.proxy("github") } });
const { data } = await octokit.rest.issues.get({ owner: "octo", repo: "hello", issue_number: 5 });
console.log(data.title);
await client.close();
