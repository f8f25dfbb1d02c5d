import type { LimitDefinition } from "../../limits.ts";

const REPO = "/repos/{owner}/{repo}";
const inRepository = (lines: string): string[] =>
  lines
    .trim()
    .split("\n")
    .map((line) => line.replace(/ \/( |(?=\S))/, (_, space: string) => ` ${REPO}${space === " " ? " " : "/"}`));

/** Lines at which the path alone says which repository is meant. */
const REPOSITORY = inRepository(`
GET /{what:branches|comments|commits|contents|readme|tags} repos
GET,PUT,DELETE /contents/{path...} repos
GET /readme/{dir...} repos
GET /{format:tarball|zipball} repos
GET /{format:tarball|zipball}/{ref...} repos
GET /branches/{branch:text!protection} repos
POST /branches/{branch:text!protection}/rename repos
GET /commits/{commit_sha}/branches-where-head repos
GET /commits/{commit_sha}/pulls repos+pull_requests
GET,POST /commits/{commit_sha}/comments repos
GET,PATCH,DELETE /comments/{comment_id:int} repos
GET,POST /comments/{comment_id:int}/reactions repos
DELETE /comments/{comment_id:int}/reactions/{reaction_id:int} repos
POST /git/{what:blobs|commits|refs|tags|trees} repos
GET /git/{what:blobs|commits|tags}/{sha} repos
GET /git/{what:matching-refs|ref}/{ref...} repos
PATCH,DELETE /git/refs/{ref...} repos
GET /git/trees/{tree_sha:text} repos
GET /{what:activity|contributors|hash-algorithm|languages|license} repos
GET /codeowners/errors repos
GET /community/profile repos
GET /stats/{series:code_frequency|commit_activity|contributors|participation|punch_card} repos
GET,PUT /topics repos
GET,POST /releases repos
POST /releases/generate-notes repos
GET /releases/latest repos
GET /releases/tags/{tag:text} repos
GET,PATCH,DELETE /releases/{release_id:int} repos
GET /releases/{release_id:int}/assets repos
GET,PATCH,DELETE /releases/assets/{asset_id:int} repos
GET,POST /releases/{release_id:int}/reactions repos
DELETE /releases/{release_id:int}/reactions/{reaction_id:int} repos
GET /assignees issues
GET /assignees/{assignee} issues
GET /issue-types issues
GET,POST /issues issues
GET /issues/comments issues
GET,PATCH,DELETE /issues/comments/{comment_id:int} issues
PUT,DELETE /issues/comments/{comment_id:int}/pin issues
GET,POST /issues/comments/{comment_id:int}/reactions issues
DELETE /issues/comments/{comment_id:int}/reactions/{reaction_id:int} issues
GET /issues/events issues
GET /issues/events/{event_id:int} issues
GET,POST /labels issues
GET,PATCH,DELETE /labels/{name:text} issues
GET,POST /milestones issues
GET,PATCH,DELETE /milestones/{milestone_number:int} issues
GET /milestones/{milestone_number:int}/labels issues
GET /pulls pull_requests
GET /pulls/comments pull_requests
GET /pulls/comments/{comment_id:int} pull_requests
GET /pulls/comments/{comment_id:int}/reactions pull_requests
GET /pulls/{pull_number:int} pull_requests
GET /pulls/{pull_number:int}/{part:comments|commits|files|merge|requested_reviewers|reviews} pull_requests
GET /pulls/{pull_number:int}/merge-async/{uuid} pull_requests
GET /pulls/{pull_number:int}/reviews/{review_id:int} pull_requests
GET /pulls/{pull_number:int}/reviews/{review_id:int}/comments pull_requests
GET /stacks pull_requests
GET /stacks/{stack_number:int} pull_requests
`);

/** Lines at which the path alone says which issue is meant. Sub-issues and dependencies name a second one by its global id: not here. */
const ISSUE = inRepository(`
GET,PATCH /issues/{issue_number:int} issues
PUT,DELETE /issues/{issue_number:int}/lock issues
POST,DELETE /issues/{issue_number:int}/assignees issues
GET /issues/{issue_number:int}/assignees/{assignee} issues
GET,POST /issues/{issue_number:int}/comments issues
GET,POST,PUT /issues/{issue_number:int}/issue-field-values issues
DELETE /issues/{issue_number:int}/issue-field-values/{issue_field_id:int} issues
GET,POST,PUT,DELETE /issues/{issue_number:int}/labels issues
DELETE /issues/{issue_number:int}/labels/{name:text} issues
GET,POST /issues/{issue_number:int}/reactions issues
DELETE /issues/{issue_number:int}/reactions/{reaction_id:int} issues
`);

const SELF = `GET,PATCH,DELETE ${REPO} repos`;
const RENAME = `POST ${REPO}/branches/{branch:text!protection}/rename repos`;

/**
 * What grants may limit at GitHub. Owners and repositories are compared without case
 * (https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api#path-parameters).
 *
 * Not listed, and so denied under a limit: what names a second repository or a global id (`compare`, forks, merges from an upstream,
 * templates, sub-issues, dependencies), what has no repository in its path (`/issues`, `/user/repos`), and `/repositories/{id}`, whose
 * number is another name of a repository.
 */
export const githubLimits: Readonly<Record<string, LimitDefinition>> = {
  "path.owner": { alone: [...REPOSITORY, ...ISSUE, SELF], ignoresCase: true },
  "path.repo": {
    alone: [...REPOSITORY, ...ISSUE],
    // A PATCH with a name renames the repository.
    also: { [SELF]: ["body.name"] },
    ignoresCase: true,
  },
  "path.org": { alone: ["GET /orgs/{org}/issues issues"], ignoresCase: true },
  "path.issue_number": { alone: ISSUE },
  "path.pull_number": { alone: REPOSITORY.filter((line) => line.includes("{pull_number")) },
  "path.branch": {
    alone: REPOSITORY.filter((line) => line.includes("{branch") && line !== RENAME),
    also: { [RENAME]: ["body.new_name"] },
    isPath: true,
  },
  // Trees and refs write files by other names: they are not listed.
  "path.path": { alone: REPOSITORY.filter((line) => line.includes("{path...}")), isPath: true },
  "body.branch": { alone: [`GET,PUT,DELETE ${REPO}/contents/{path...} repos`], isPath: true },
  "body.state": { alone: [`GET,PATCH ${REPO}/issues/{issue_number:int} issues`], closedList: ["open", "closed"] },
};
