import { AgentAuthClient } from "agentauth/client";

const {
  AGENTAUTH_URL: baseUrl = "http://127.0.0.1:8787",
  AGENT_ID: agentId = "",
  API_KEY: apiKey = "",
} = process.env;
const client = new AgentAuthClient({ baseUrl, agentId, apiKey });

/** An SDK in the style of OpenAI's: it takes `baseURL` and `fetch`. */
class Orders {
  readonly #options: { baseURL: string; apiKey: string; fetch: typeof fetch };
  constructor(options: { baseURL: string; apiKey: string; fetch: typeof fetch }) {
    this.#options = options;
  }
  async list(): Promise<unknown> {
    const { baseURL, apiKey: key, fetch: send } = this.#options;
    return (
      await send(`${baseURL}/orders`, { headers: { authorization: `Bearer ${key}` } })
    ).json();
  }
}

const orders = new Orders({
  baseURL: "https://orders.example.com",
  apiKey: "not used",
  fetch: client.proxy("sample"),
});
console.log(await orders.list());
await client.close();
