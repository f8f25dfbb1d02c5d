#!/bin/sh
# curl as the vendors' documentation shows it, with the gateway in place of the API. Run by scripts/test-clients.ts.
set -eu
github="$GATEWAY/proxy/github"
read_issue='"title":"An issue"'
curl -sS -u "x-access-token:$TOKEN" "$github/repos/o/r/issues/5" | grep -q "$read_issue"
curl -sS -H "Authorization: token $TOKEN" "$github/repos/o/r/issues/5" | grep -q "$read_issue"
curl -sS -u "$TOKEN:" "$GATEWAY/proxy/stripe/v1/customers/cus_1" | grep -q '"id":"cus_1"'
# GitHub's examples send JSON under the type of a form.
curl -sS -X POST -H "Authorization: Bearer $TOKEN" "$github/repos/o/r/issues" -d '{"title":"Made"}' | grep -q '"number":6'
# An archive redirects to another host, to which curl does not send the token.
curl -sSL -f -u "x-access-token:$TOKEN" -o /dev/null "$github/repos/o/r/tarball/main"
curl -sS -u "x-access-token:$TOKEN" "$github/repos/o/r/pulls/1" | grep -q '"required":"github:pull_requests:read"'
echo "curl works."
