"""PyGithub through the gateway: its objects call the links of the answers. Run by scripts/test-clients.ts."""

import os
import sys
import tempfile

from github import Github, GithubException

gateway, token, elsewhere = (os.environ[name] for name in ("GATEWAY", "TOKEN", "ELSEWHERE"))
client = Github(token, base_url=f"{gateway}/proxy/github", retry=0)

repository = client.get_repo("o/r")
assert repository.url == f"{gateway}/proxy/github/repos/o/r", repository.url
assert repository.html_url == "https://github.com/o/r", repository.html_url

issue = repository.get_issue(5)
assert issue.title == "An issue", issue.title
assert [one.body for one in issue.get_comments()] == ["A comment"]
issue.edit(title="Changed")
assert issue.title == "Changed", issue.title
assert repository.create_issue(title="Made").number == 6
assert [one.number for one in repository.get_issues()] == [1, 2, 3]
# A lazy object asks its own url for what a listing leaves out.
assert next(iter(repository.get_issues())).closed_by.login == "somebody"

file = repository.get_contents("docs/a.txt")
assert file.decoded_content == b"text", file
assert file.download_url.startswith("about:invalid#agentauth-removed="), file.download_url
assert repository.get_archive_link("tarball", "main") == f"{elsewhere}/o/r/legacy.tar.gz/main"

release = repository.get_release(1)
with tempfile.NamedTemporaryFile() as asset:
    try:
        release.upload_asset(asset.name)
        sys.exit("An asset was uploaded.")
    except AssertionError:
        pass  # of PyGithub's own: the link is none of its base URL

try:
    repository.get_pull(1)
    sys.exit("A pull request was read.")
except GithubException as error:
    assert error.status == 403, error
    assert error.data["required"] == "github:pull_requests:read", error.data
print("PyGithub works.")
