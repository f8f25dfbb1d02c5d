import { GITHUB_TOKEN_PLACES } from "../token-place.ts";
import { GITHUB_REQUEST_HEADERS } from "./request-headers.ts";
import type { Preset, ServiceDefinition } from "../service-definition.ts";
import { githubLimits } from "./limits/github.ts";

const REPO = "/repos/{owner}/{repo}";
/** GitHub's `Link` headers and its redirects after a rename name a repository by number. */
const NUMBERED = "/repositories/{repository_id:int}";

/** A commit, a branch or a tag, which may contain slashes; not before what stands below a commit. */
const REF = "{ref:text!branches-where-head|check-runs|check-suites|comments|pulls|status|statuses}";

/**
 * Below one repository: an allow-list of sections. What is not listed (actions, secrets, keys, hooks, protection, scanning,
 * collaborators, deployments …) is uncovered.
 */
const inRepository = [
  "GET,PATCH,DELETE / repos",

  // Content and history.
  "GET /{what:branches|comments|commits|contents|readme|tags} repos",
  "GET /contents/ repos",
  "GET,PUT,DELETE /contents/{path...} repos",
  // A directory, as clients write it. GitHub answers every other path that ends in a slash with 404.
  "GET /contents/{path...}/ repos",
  "GET /readme/{dir...} repos",
  "GET /{format:tarball|zipball} repos",
  "GET /{format:tarball|zipball}/{ref...} repos",
  "GET /branches/{branch:text!protection} repos",
  "POST /branches/{branch:text!protection}/rename repos",
  "POST /{what:merge-upstream|merges} repos",
  `GET /commits/${REF} repos`,
  "GET /commits/{commit_sha}/branches-where-head repos",
  "GET /commits/{commit_sha}/pulls repos+pull_requests",
  "GET,POST /commits/{commit_sha}/comments repos",
  "GET,PATCH,DELETE /comments/{comment_id:int} repos",
  "GET,POST /comments/{comment_id:int}/reactions repos",
  "DELETE /comments/{comment_id:int}/reactions/{reaction_id:int} repos",
  "GET /compare/{basehead:text} repos",
  "POST /git/{what:blobs|commits|refs|tags|trees} repos",
  "GET /git/{what:blobs|commits|tags}/{sha} repos",
  "GET /git/{what:matching-refs|ref}/{ref...} repos",
  "PATCH,DELETE /git/refs/{ref...} repos",
  "GET /git/trees/{tree_sha:text} repos",

  // What describes a repository.
  "GET /{what:activity|contributors|hash-algorithm|languages|license} repos",
  "GET /codeowners/errors repos",
  "GET /community/profile repos",
  "GET /stats/{series:code_frequency|commit_activity|contributors|participation|punch_card} repos",
  "GET,PUT /topics repos",
  "GET,POST /forks repos",

  // Releases. Uploads go to another host and are not covered.
  "GET,POST /releases repos",
  "POST /releases/generate-notes repos",
  "GET /releases/latest repos",
  "GET /releases/tags/{tag:text} repos",
  "GET,PATCH,DELETE /releases/{release_id:int} repos",
  "GET /releases/{release_id:int}/assets repos",
  "GET,PATCH,DELETE /releases/assets/{asset_id:int} repos",
  "GET,POST /releases/{release_id:int}/reactions repos",
  "DELETE /releases/{release_id:int}/reactions/{reaction_id:int} repos",

  // Issues, with the labels, milestones and assignees that GitHub groups with them. A pull request is an issue to GitHub: these
  // paths read and write its comments, labels and state too.
  "GET /assignees issues",
  "GET /assignees/{assignee} issues",
  "GET /issue-types issues",
  "GET,POST /issues issues",
  "GET,PATCH /issues/{issue_number:int} issues",
  "PUT,DELETE /issues/{issue_number:int}/lock issues",
  "GET /issues/comments issues",
  "GET,PATCH,DELETE /issues/comments/{comment_id:int} issues",
  "PUT,DELETE /issues/comments/{comment_id:int}/pin issues",
  "GET,POST /issues/comments/{comment_id:int}/reactions issues",
  "DELETE /issues/comments/{comment_id:int}/reactions/{reaction_id:int} issues",
  "GET /issues/events issues",
  "GET /issues/events/{event_id:int} issues",
  "POST,DELETE /issues/{issue_number:int}/assignees issues",
  "GET /issues/{issue_number:int}/assignees/{assignee} issues",
  "GET,POST /issues/{issue_number:int}/comments issues",
  "GET /issues/{issue_number:int}/{part:events|parent|suggestions|timeline} issues",
  "GET,POST /issues/{issue_number:int}/dependencies/blocked_by issues",
  "DELETE /issues/{issue_number:int}/dependencies/blocked_by/{issue_id:int} issues",
  "GET /issues/{issue_number:int}/dependencies/blocking issues",
  "GET,POST,PUT /issues/{issue_number:int}/issue-field-values issues",
  "DELETE /issues/{issue_number:int}/issue-field-values/{issue_field_id:int} issues",
  "GET,POST,PUT,DELETE /issues/{issue_number:int}/labels issues",
  "DELETE /issues/{issue_number:int}/labels/{name:text} issues",
  "GET,POST /issues/{issue_number:int}/reactions issues",
  "DELETE /issues/{issue_number:int}/reactions/{reaction_id:int} issues",
  "DELETE /issues/{issue_number:int}/sub_issue issues",
  "GET,POST /issues/{issue_number:int}/sub_issues issues",
  "PATCH /issues/{issue_number:int}/sub_issues/priority issues",
  "POST /issues/{issue_number:int}/suggestions/{suggestion_id}/{verdict:approve|dismiss} issues",
  "GET,POST /labels issues",
  "GET,PATCH,DELETE /labels/{name:text} issues",
  "GET,POST /milestones issues",
  "GET,PATCH,DELETE /milestones/{milestone_number:int} issues",
  "GET /milestones/{milestone_number:int}/labels issues",

  // Pull requests. The catalogue has no write for them, so every write is uncovered.
  "GET /pulls pull_requests",
  "GET /pulls/comments pull_requests",
  "GET /pulls/comments/{comment_id:int} pull_requests",
  "GET /pulls/comments/{comment_id:int}/reactions pull_requests",
  "GET /pulls/{pull_number:int} pull_requests",
  "GET /pulls/{pull_number:int}/{part:comments|commits|files|merge|requested_reviewers|reviews} pull_requests",
  "GET /pulls/{pull_number:int}/merge-async/{uuid} pull_requests",
  "GET /pulls/{pull_number:int}/reviews/{review_id:int} pull_requests",
  "GET /pulls/{pull_number:int}/reviews/{review_id:int}/comments pull_requests",
  "GET /stacks pull_requests",
  "GET /stacks/{stack_number:int} pull_requests",
];

/** Rules of a preset, below both spellings of a repository. */
const inBoth = (lines: readonly string[]): string[] =>
  [REPO, NUMBERED].flatMap((prefix) => lines.map((line) => below(prefix, line)));

const presets: Readonly<Record<string, Preset>> = {
  "pull-request-writes": {
    title: "opening, editing, reviewing and merging pull requests",
    resources: { pull_requests: ["write"] },
    rules: inBoth([
      "POST /pulls pull_requests",
      "PATCH /pulls/{pull_number:int} pull_requests",
      "POST /pulls/{pull_number:int}/comments pull_requests",
      "POST /pulls/{pull_number:int}/comments/{comment_id:int}/replies pull_requests",
      "PATCH,DELETE /pulls/comments/{comment_id:int} pull_requests",
      "POST /pulls/comments/{comment_id:int}/reactions pull_requests",
      "DELETE /pulls/comments/{comment_id:int}/reactions/{reaction_id:int} pull_requests",
      "POST,DELETE /pulls/{pull_number:int}/requested_reviewers pull_requests",
      "POST /pulls/{pull_number:int}/reviews pull_requests",
      "PUT,DELETE /pulls/{pull_number:int}/reviews/{review_id:int} pull_requests",
      "POST /pulls/{pull_number:int}/reviews/{review_id:int}/events pull_requests",
      "PUT /pulls/{pull_number:int}/reviews/{review_id:int}/dismissals pull_requests",
      // These write commits into a branch.
      "PUT /pulls/{pull_number:int}/{how:merge|merge-async|update-branch} pull_requests+repos",
    ]),
  },
  "statuses-and-checks": {
    title: "commit statuses, check runs and check suites",
    resources: { statuses: ["read", "write"], checks: ["read", "write"] },
    rules: inBoth([
      `GET /commits/${REF}/{what:status|statuses} statuses`,
      "POST /statuses/{sha} statuses",
      `GET /commits/${REF}/{what:check-runs|check-suites} checks`,
      "POST /{what:check-runs|check-suites} checks",
      "GET,PATCH /check-runs/{check_run_id:int} checks",
      "GET /check-runs/{check_run_id:int}/annotations checks",
      "GET /check-suites/{check_suite_id:int} checks",
      "GET /check-suites/{check_suite_id:int}/check-runs checks",
      "POST /{what:check-runs|check-suites}/{id:int}/rerequest checks",
    ]),
  },
  // Without what approves a run or a deployment, and without starting a workflow: its inputs are the workflow's own.
  "actions-runs": {
    title: "workflow runs of Actions, their jobs, logs and artifacts; running them again and cancelling them",
    resources: { workflow_runs: ["read", "write"] },
    rules: inBoth([
      "GET /actions/runs workflow_runs",
      "GET,DELETE /actions/runs/{run_id:int} workflow_runs",
      "GET /actions/runs/{run_id:int}/{part:approvals|artifacts|jobs|timing} workflow_runs",
      "GET,DELETE /actions/runs/{run_id:int}/logs workflow_runs",
      "GET /actions/runs/{run_id:int}/attempts/{attempt_number:int} workflow_runs",
      "GET /actions/runs/{run_id:int}/attempts/{attempt_number:int}/{part:jobs|logs} workflow_runs",
      "POST /actions/runs/{run_id:int}/{what:cancel|force-cancel|rerun|rerun-failed-jobs} workflow_runs",
      "GET /actions/jobs/{job_id:int} workflow_runs",
      "GET /actions/jobs/{job_id:int}/logs workflow_runs",
      "POST /actions/jobs/{job_id:int}/rerun workflow_runs",
      "GET /actions/artifacts workflow_runs",
      "GET,DELETE /actions/artifacts/{artifact_id:int} workflow_runs",
      "GET /actions/artifacts/{artifact_id:int}/zip workflow_runs",
      "GET /actions/workflows workflow_runs",
      "GET /actions/workflows/{workflow_id} workflow_runs",
      "GET /actions/workflows/{workflow_id}/{part:runs|timing} workflow_runs",
    ]),
  },
};

/** Below a repository, and some of it below organizations, enterprises and users too. */
const SECRET_SECTIONS =
  "{section:agents|attestations|code-scanning|code-security|codespaces|collaborators|custom-properties|dependabot|" +
  "dependency-graph|environments|hooks|invitations|keys|migrations|pages|private-registries|rulesets|secret-scanning|security-advisories}";

const refused = [
  "* /graphql",
  "* /search/{rest...}",
  // Who signs in, applications, and what issues tokens.
  "* /{what:app|app-manifests|applications|authorizations|enterprises|installation|login|marketplace_listing|scim}/{rest...}",
  "* /{what:app|credentials|installation}",
  "* /credentials/{rest...}",
  "* /user/{what:codespaces|emails|gpg_keys|installations|keys|marketplace_purchases|migrations|ssh_signing_keys}",
  "* /user/{what:codespaces|emails|gpg_keys|installations|keys|marketplace_purchases|migrations|ssh_signing_keys}/{rest...}",
  // Of an organization what decides who may do what.
  ...["/orgs/{org}", "/organizations/{organization_id:int}"].flatMap((org) => [
    `* ${org}/{what:installation|installations|invitations|memberships|members|outside_collaborators|teams|security-managers}/{rest...}`,
    `* ${org}/{what:personal-access-tokens|personal-access-token-requests|organization-roles|interaction-limits|blocks}/{rest...}`,
    `* ${org}/${SECRET_SECTIONS}`,
    `* ${org}/${SECRET_SECTIONS}/{rest...}`,
    `* ${org}/actions/{rest...}`,
  ]),
  "* /teams/{rest...}",
  ...inBoth([
    `* /${SECRET_SECTIONS} -`,
    `* /${SECRET_SECTIONS}/{rest...} -`,
    "* /branches/{branch}/protection -",
    "* /branches/{branch}/protection/{rest...} -",
    "* /actions/{what:cache|caches|concurrency_groups|hosted-runners|oidc|organization-secrets|organization-variables|permissions|runners|secrets|variables} -",
    "* /actions/{what:cache|caches|concurrency_groups|hosted-runners|oidc|organization-secrets|organization-variables|permissions|runners|secrets|variables}/{rest...} -",
    "POST /actions/runs/{run_id}/{what:approve|deployment_protection_rule|pending_deployments} -",
    "* /pulls/{pull_number}/codespaces -",
    "* /{what:import|interaction-limits}/{rest...} -",
    "* /import -",
    "POST /transfer -",
  ]).map((line) => line.slice(0, -" -".length)),
];

/** GitHub REST, from the vendor's OpenAPI description (`@octokit/openapi`). GitHub Enterprise Server: base URL `https://HOST/api/v3`. */
export const github: ServiceDefinition = {
  name: "github",
  requestHeaders: GITHUB_REQUEST_HEADERS,
  tokenPlaces: GITHUB_TOKEN_PLACES,
  baseUrl: "https://api.github.com",
  credential: { scheme: "bearer" },
  // GitHub's API reads JSON (https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api#body-parameters) and
  // documents no method override, but it is a Rails application, whose Rack::MethodOverride reads forms: these are checked. Its
  // own examples send JSON by `curl -d` under the type of a form; it is sent on as JSON.
  defaultHeaders: {
    accept: "application/vnd.github+json",
    "x-github-api-version": "2022-11-28",
  },
  // PyGithub's objects call their own `url`, and what is below it. `compare_url` and others are URI templates.
  bodyLinks: ["url", "*_url", "href", "self", "git"],
  // At uploads.github.com and raw.githubusercontent.com. Clients follow them with their token (PyGithub's `upload_asset`, go-github's
  // `DownloadContents`).
  removedLinks: ["upload_url", "download_url"],
  // Tells which organizations the credential lacks, with a link that would authorize it.
  hiddenResponseHeaders: ["x-github-sso"],
  limits: githubLimits,
  alternativePaths: [NUMBERED, "/organizations/{organization_id:int}", "/user/{account_id:int}"],
  presets,
  refused,
  rules: [
    "GET /issues issues",
    "GET /user/issues issues",
    "GET /orgs/{org}/issues issues",
    "GET /organizations/{organization_id:int}/issues issues",
    "GET,POST /user/repos repos",
    "GET,POST /orgs/{org}/repos repos",
    "GET /organizations/{organization_id:int}/repos repos",
    "GET /users/{username}/repos repos",
    "GET /user/{account_id:int}/repos repos",
    "GET /repositories repos",
    `POST ${REPO}/generate repos`,
    ...[REPO, NUMBERED].flatMap((prefix) => inRepository.map((line) => below(prefix, line))),
  ],
};

function below(prefix: string, line: string): string {
  const [methods, path, permission] = line.split(" ");
  return `${methods} ${prefix}${path === "/" ? "" : path} ${permission}`;
}
