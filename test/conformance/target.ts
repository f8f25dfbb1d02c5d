import type { TestProject } from "vitest/node";
import { SAMPLE_RULES, startSampleUpstream } from "../../scripts/sample-upstream.ts";
import { startWorker } from "../outside/support/worker.ts";
import { testSecrets } from "../support/secrets.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The deployment that is tested: its origin, and what lets an administrator in. */
    target: {
      readonly url: string;
      readonly bootstrapToken: string;
      /** An administrator that exists, in place of the bootstrap token. */
      readonly administrator?: { readonly agent_id: string; readonly api_key: string } | undefined;
    };
  }
}

/** The deployment that `CONFORMANCE_URL` names; without it, a Worker of this tree's own. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const { CONFORMANCE_URL: url, ADMIN_BOOTSTRAP_TOKEN: bootstrapToken } = process.env;
  const { AGENTAUTH_AGENT_ID: agent_id, AGENTAUTH_API_KEY: api_key } = process.env;
  if (url) {
    const administrator = agent_id && api_key ? { agent_id, api_key } : undefined;
    project.provide("target", { url: new URL(url).origin, bootstrapToken: bootstrapToken ?? "", administrator });
    return undefined;
  }
  const sample = await startSampleUpstream("sample-credential");
  const settings = {
    WEBHOOK_ALLOW_LOOPBACK: "true",
    "UPSTREAMS.sample": JSON.stringify({ base_url: sample.url, ...SAMPLE_RULES }),
    UPSTREAM_SAMPLE_TOKEN: "sample-credential",
  };
  const worker = await startWorker(settings, { assets: true });
  project.provide("target", { url: worker.url, bootstrapToken: testSecrets.ADMIN_BOOTSTRAP_TOKEN });
  return async () => {
    await worker.stop();
    sample.server.close();
  };
}
