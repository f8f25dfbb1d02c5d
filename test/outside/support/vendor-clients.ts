import { Client as HubSpotClient } from "@hubspot/api-client";
import { Octokit } from "@octokit/rest";
import { WebClient } from "@slack/web-api";
import jsforce from "jsforce";
import { createClient as createZendesk } from "node-zendesk";
import { Stripe } from "stripe";
import { AgentAuthClient } from "../../../src/client/index.ts";

const proxy = (gateway: string, token: string, service: string) =>
  new AgentAuthClient({ baseUrl: gateway, accessToken: token }).proxy(service);

// With `auth: token` and a baseUrl it works too, but sends the token to
// uploads.github.com when it uploads a release's asset.
export const octokit = (gateway: string, token: string) =>
  new Octokit({ request: { fetch: proxy(gateway, token, "github") } });

// Its base URL cannot have a path, so the SDK's fetch adds it. The key is not sent.
export const stripe = (gateway: string, token: string) =>
  new Stripe("sk_not_used", {
    httpClient: Stripe.createFetchHttpClient(proxy(gateway, token, "stripe")),
  });

// Of itself it would repeat a refusal, a 403, for half an hour.
export const slack = (gateway: string, token: string, headers = {}) =>
  new WebClient(token, {
    slackApiUrl: `${gateway}/proxy/slack/api/`,
    retryConfig: { retries: 0 },
    headers,
  });

export const hubspot = (gateway: string, token: string) =>
  new HubSpotClient({ accessToken: token, basePath: `${gateway}/proxy/hubspot` });

// Its types do not know endpointUri.
export const zendesk = (gateway: string, token: string) =>
  createZendesk({ endpointUri: `${gateway}/proxy/zendesk/api/v2`, useOAuth: true, token } as never);

export const salesforce = (gateway: string, token: string) =>
  new jsforce.Connection({
    instanceUrl: `${gateway}/proxy/salesforce`,
    accessToken: token,
    version: "61.0",
  });
