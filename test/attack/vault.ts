import { CREDENTIAL } from "./lab.ts";

/** Where each service of the attack stands below the hostile upstream. */
export const BASES: Readonly<Record<string, string>> = {
  vault: "/base/v1",
  stripe: "/stripe",
  slack: "/slack/api",
  hubspot: "/hubspot",
  zendesk: "/zendesk",
  github: "/github",
};

/** An operator's own upstream with something public and something secret. */
const VAULT = {
  resources: { public: ["read", "write"], secret: ["read", "write"] },
  rules: [
    "GET,POST /public public",
    "* /public/{id} public",
    "POST /public/{id}/search public:read",
    "GET /files/{path...} public",
    "GET /named/{name:text!secret} public",
    "GET /named/{name:text}/secret secret",
    "* /secret/{id} secret",
  ],
};

/** The settings with which a gateway stands before the hostile upstream. */
export function settingsFor(upstreamUrl: string): Record<string, string> {
  const services = Object.entries(BASES).map(([name, base]) => [
    `UPSTREAMS.${name}`,
    JSON.stringify({ base_url: upstreamUrl + base, ...(name === "vault" && VAULT) }),
  ]);
  const credentials = Object.keys(BASES).map((name) => [`UPSTREAM_${name.toUpperCase()}_TOKEN`, CREDENTIAL]);
  return { ...Object.fromEntries([...services, ...credentials]), WEBHOOK_ALLOW_LOOPBACK: "true" };
}
