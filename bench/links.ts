import { linkRewriter } from "../src/gateway/upstream/links.ts";
import { bodyLinksOf } from "../src/policy/body-links.ts";
import { github } from "../src/policy/services/github.ts";
import { hubspot } from "../src/policy/services/hubspot.ts";
import { summary } from "./measure.ts";

/**
 * What rewriting the links of a JSON answer costs, alone, in this process: `node bench/links.ts [repeats]`.
 *
 * A list of GitHub's issues of a megabyte, with 32 links in each 3 KB of which 25 lead to the API, in pieces of 64 KB; and one issue at once. By
 * GitHub's names at any depth, and by HubSpot's two pointers, which no part of it matches.
 */
const repeats = Number(process.argv[2] ?? 30);
const API = "https://api.github.com";
const scope = {
  service: { name: "github", basePath: "" },
  fetched: new URL(`${API}/repos/octo/hello/issues`),
  gatewayOrigin: "https://gateway.example.com",
  issuer: "https://gateway.example.com",
};

const person = {
  login: "octocat",
  id: 583231,
  avatar_url: "https://avatars.githubusercontent.com/u/583231?v=4",
  html_url: "https://github.com/octocat",
  ...Object.fromEntries(
    ["", "followers_", "subscriptions_", "organizations_", "repos_", "received_events_"].map((name) => [
      `${name}url`,
      `${API}/users/octocat/${name}`.replace(/[/_]$/, ""),
    ]),
  ),
  gists_url: `${API}/users/octocat/gists{/gist_id}`,
  starred_url: `${API}/users/octocat/starred{/owner}{/repo}`,
  site_admin: false,
};
const issue = (number: number) => ({
  id: 1_000_000 + number,
  number,
  url: `${API}/repos/octo/hello/issues/${number}`,
  repository_url: `${API}/repos/octo/hello`,
  labels_url: `${API}/repos/octo/hello/issues/${number}/labels{/name}`,
  comments_url: `${API}/repos/octo/hello/issues/${number}/comments`,
  events_url: `${API}/repos/octo/hello/issues/${number}/events`,
  html_url: `https://github.com/octo/hello/issues/${number}`,
  user: person,
  assignee: person,
  title: "Something does not work as it says",
  body: 'A text of several lines,\nwith "quotes" and a link to https://api.github.com/repos/octo/hello.\n'.repeat(4),
  reactions: { url: `${API}/repos/octo/hello/issues/${number}/reactions`, total_count: 3, "+1": 1, laugh: 2 },
  state: "open",
  created_at: "2026-01-01T00:00:00Z",
});

const encoder = new TextEncoder();
const one = encoder.encode(JSON.stringify(issue(5)));
const count = Math.ceil((1024 * 1024) / one.length);
const list = encoder.encode(JSON.stringify(Array.from({ length: count }, (_, number) => issue(number))));

for (const [name, service] of [
  ["GitHub's names", github],
  ["HubSpot's pointers", hubspot],
] as const) {
  for (const [size, bytes, times] of [
    [`${(list.length / 1024 / 1024).toFixed(1)} MB`, list, 1],
    [`${(one.length / 1024).toFixed(1)} KB`, one, 500],
  ] as const) {
    const links = bodyLinksOf(service, undefined)!;
    const micros: number[] = [];
    for (let round = -5; round < repeats; round++) {
      const before = process.cpuUsage();
      for (let time = 0; time < times; time++) {
        const { push } = linkRewriter(links, scope);
        for (let at = 0; at < bytes.length; at += 64 * 1024) push(bytes.subarray(at, at + 64 * 1024));
      }
      if (round >= 0) micros.push(process.cpuUsage(before).user / times);
    }
    const { median, low, high } = summary(micros);
    console.log(`${name}, ${size}: ${median} µs (${low} to ${high})`);
  }
}
