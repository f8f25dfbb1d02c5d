import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startRecorder } from "../test/outside/support/recorder.ts";
import { startWorker } from "../test/outside/support/worker.ts";
import { ROOT } from "./local.ts";

/**
 * Runs vendors' clients in other languages (test/vendors/) against a gateway of its own, before a server that answers as the vendors do. What
 * is not installed is named and left out: Debian's packages are python3-github, python3-stripe, ruby-octokit, and golang-go with
 * golang-github-google-go-github-dev and golang-github-slack-go-slack-dev.
 *
 * It also fails if a token arrives at the server that plays the other hosts which answers name, and if the vendor gets the agent's token or does
 * not get the company's.
 */
interface Client {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Succeeds if the client is installed. */
  readonly installed: readonly string[];
  readonly env?: Record<string, string>;
}

const cache = mkdtempSync(join(tmpdir(), "agentauth-go-"));
const GO = { GO111MODULE: "off", GOPATH: "/usr/share/gocode", GOCACHE: cache, GOFLAGS: "" };
const PYTHON = "/usr/bin/python3";
const CLIENTS: readonly Client[] = [
  { name: "curl", command: "sh", args: ["curl.sh"], installed: ["-c", "command -v curl"] },
  { name: "PyGithub", command: PYTHON, args: ["pygithub.py"], installed: ["-c", "import github"] },
  { name: "stripe-python", command: PYTHON, args: ["stripe_python.py"], installed: ["-c", "import stripe"] },
  { name: "octokit.rb", command: "ruby", args: ["octokit.rb"], installed: ["-e", "require 'octokit'"] },
  {
    name: "go-github",
    command: "go",
    args: ["run", "go-github/main.go"],
    installed: ["list", "github.com/google/go-github/github"],
    env: GO,
  },
  {
    name: "slack-go",
    command: "go",
    args: ["run", "slack-go/main.go"],
    installed: ["list", "github.com/slack-go/slack"],
    env: GO,
  },
];

const SECRETS = {
  UPSTREAM_GITHUB_TOKEN: "ghp_of-the-company",
  UPSTREAM_STRIPE_TOKEN: "rk_of-the-company",
  UPSTREAM_SLACK_TOKEN: "xoxb-of-the-company",
};
const elsewhere = await startRecorder();
const upstream = await startRecorder((request, response) => {
  const { status = 200, headers, body = {} } = answer(request, new URL(request.url!, upstream.url));
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
});
const worker = await startWorker({
  ...SECRETS,
  "UPSTREAMS.github.base_url": upstream.url,
  "UPSTREAMS.stripe.base_url": upstream.url,
  "UPSTREAMS.slack.base_url": `${upstream.url}/api`,
});

interface Answer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
}

/** What GitHub and Stripe answer, as far as the clients look at it. */
function answer({ method = "" }: IncomingMessage, { pathname, searchParams }: URL): Answer {
  const repository = `${upstream.url}/repos/o/r`;
  const somebody = { login: "somebody", url: `${upstream.url}/users/somebody` };
  const issue = (number: number, title = "An issue") => ({
    number,
    title,
    url: `${repository}/issues/${number}`,
    comments_url: `${repository}/issues/${number}/comments`,
    html_url: `https://github.com/o/r/issues/${number}`,
    user: somebody,
  });
  const file = {
    type: "file",
    name: "a.txt",
    path: "docs/a.txt",
    encoding: "base64",
    content: Buffer.from("text").toString("base64"),
    url: `${repository}/contents/docs/a.txt?ref=main`,
    download_url: `${elsewhere.url}/o/r/main/docs/a.txt?token=of-the-file`,
  };
  switch (`${method} ${pathname}`) {
    case "GET /repos/o/r":
      return {
        body: {
          full_name: "o/r",
          url: repository,
          html_url: "https://github.com/o/r",
          issues_url: `${repository}/issues{/number}`,
          archive_url: `${repository}/{archive_format}{/ref}`,
        },
      };
    case "GET /repos/o/r/issues": {
      const page = Number(searchParams.get("page") ?? 1);
      const next = `<${repository}/issues?page=${page + 1}&per_page=1>; rel="next"`;
      return { body: [issue(page)], ...(page < 3 && { headers: { link: next } }) };
    }
    case "POST /repos/o/r/issues":
      return { status: 201, body: issue(6, "Made") };
    case "GET /repos/o/r/issues/1":
      return { body: { ...issue(1), closed_by: somebody } };
    case "GET /repos/o/r/issues/5":
      return { body: issue(5) };
    case "PATCH /repos/o/r/issues/5":
      return { body: issue(5, "Changed") };
    case "GET /repos/o/r/issues/5/comments":
      return { body: [{ id: 1, body: "A comment", url: `${repository}/issues/comments/1` }] };
    case "GET /repos/o/r/contents/docs":
      return { body: [file] };
    case "GET /repos/o/r/contents/docs/a.txt":
      return { body: file };
    case "GET /repos/o/r/tarball/main":
      return { status: 302, headers: { location: `${elsewhere.url}/o/r/legacy.tar.gz/main` } };
    case "GET /repos/o/r/releases/1":
      return {
        body: {
          id: 1,
          url: `${repository}/releases/1`,
          upload_url: `${elsewhere.url}/repos/o/r/releases/1/assets{?name,label}`,
        },
      };
    case "GET /v1/customers/cus_1":
      return { body: { id: "cus_1", object: "customer" } };
    case "GET /v1/customers": {
      const after = Number(searchParams.get("starting_after")?.slice(4) ?? 0);
      const data = [{ id: `cus_${after + 1}`, object: "customer" }];
      return { body: { object: "list", url: "/v1/customers", has_more: after < 2, data } };
    }
    default:
      return { status: 404, body: { message: "Not Found" } };
  }
}

function run({ name, command, args, env }: Client, token: string): Promise<boolean> {
  const given = { GATEWAY: worker.url, TOKEN: token, ELSEWHERE: elsewhere.url, PYTHONDONTWRITEBYTECODE: "1" };
  const options = { cwd: join(ROOT, "test/vendors"), env: { ...process.env, ...env, ...given } };
  return new Promise((resolve) => {
    spawn(command, args, { ...options, stdio: "inherit" }).once("close", (status) => {
      if (status !== 0) console.error(`${name} does not work through the gateway.`);
      resolve(status === 0);
    });
  });
}

let failed = 0;
let passed = 0;
try {
  for (const client of CLIENTS) {
    const { name, command, installed, env } = client;
    if (spawnSync(command, installed, { env: { ...process.env, ...env }, stdio: "ignore" }).status !== 0) {
      console.log(`${name} is not tried: it is not installed.`);
      continue;
    }
    upstream.seen.length = 0;
    const { token } = await worker.agent(["github:repos:*", "github:issues:*", "stripe:customers:read", "slack:*:*"]);
    let works = await run(client, token);
    for (const { target, headers } of upstream.seen) {
      const sent = headers.map(([, value]) => value).join(" ");
      if (!Object.values(SECRETS).some((secret) => sent.includes(secret)) || sent.includes(token)) {
        console.error(`${name}: ${target} has the wrong credential.`);
        works = false;
      }
    }
    for (const { target, headers, body } of elsewhere.seen.splice(0)) {
      const isAuthorized = headers.some(([header]) => header === "authorization");
      if (!isAuthorized && !JSON.stringify([target, headers, body]).includes(token)) continue;
      console.error(`${name} sent a token to another host: ${target}`);
      works = false;
    }
    if (works) passed++;
    else failed++;
  }
} finally {
  await worker.stop();
  upstream.close();
  elsewhere.close();
  rmSync(cache, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed, ${CLIENTS.length - passed - failed} skipped`);
process.exitCode = failed > 0 ? 1 : 0;
