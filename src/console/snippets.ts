/** How a service is called through the gateway, in the words of one client. */
export interface Snippet {
  readonly client: string;
  readonly code: string;
}

interface Example {
  /** A path of the service that many agents may read. */
  readonly path: string;
  readonly client: string;
  /** How the vendor's own client is made. @param url the gateway's URL of the service. */
  readonly code: (url: string) => string;
}

/** The built-in services. What each client needs, and why, is in docs/gateway.md, "Clients". */
const EXAMPLES: Readonly<Record<string, Example>> = {
  github: {
    path: "/repos/OWNER/REPO/issues",
    client: "@octokit/rest",
    code: () => `new Octokit({ request: { fetch: client.proxy("github") } })`,
  },
  stripe: {
    path: "/v1/customers",
    client: "stripe",
    code: () => `new Stripe("sk_not_used", { httpClient: Stripe.createFetchHttpClient(client.proxy("stripe")) })`,
  },
  slack: {
    path: "/api/conversations.list",
    client: "@slack/web-api",
    code: (url) => `new WebClient(token, { slackApiUrl: "${url}/api/", retryConfig: { retries: 0 } })`,
  },
  hubspot: {
    path: "/crm/v3/objects/contacts",
    client: "@hubspot/api-client",
    code: (url) => `new Client({ accessToken: token, basePath: "${url}" })`,
  },
  zendesk: {
    path: "/api/v2/tickets",
    client: "node-zendesk",
    code: (url) => `createClient({ endpointUri: "${url}/api/v2", useOAuth: true, token })`,
  },
  salesforce: {
    path: "/services/data/v61.0/sobjects/Account/ID",
    client: "jsforce",
    code: (url) => `new jsforce.Connection({ instanceUrl: "${url}", accessToken: token, version: "61.0" })`,
  },
};

/**
 * What to copy to call a service through the gateway: with curl, with this product's SDK, and with the vendor's client of a built-in one.
 *
 * @param origin the gateway's.
 */
export function snippetsOf(service: string, origin: string): readonly Snippet[] {
  const url = `${origin}/proxy/${service}`;
  const example = Object.hasOwn(EXAMPLES, service) ? EXAMPLES[service] : undefined;
  const path = example?.path ?? "/…";
  return [
    { client: "curl", code: `curl -H "Authorization: Bearer $TOKEN" "${url}${path}"` },
    { client: "AgentAuth’s SDK", code: `await client.proxy("${service}")("${path}")` },
    ...(example ? [{ client: example.client, code: example.code(url) }] : []),
  ];
}
