# octokit.rb through the gateway: its relations are the links of the answers. Run by scripts/test-clients.ts.
require "octokit"

gateway, token = ENV.fetch("GATEWAY"), ENV.fetch("TOKEN")
client = Octokit::Client.new(api_endpoint: "#{gateway}/proxy/github/", access_token: token, auto_paginate: true)

def expect(what, found, expected)
  abort "#{what}: #{found.inspect} and not #{expected.inspect}" unless found == expected
end

repository = client.repository("o/r")
expect "url", repository.url, "#{gateway}/proxy/github/repos/o/r"
expect "a template's relation", repository.rels[:issues].get(uri: { number: 5 }).data.title, "An issue"
expect "pages", client.issues("o/r").map(&:number), [1, 2, 3]
expect "a new issue", client.create_issue("o/r", "Made", "text").number, 6
begin
  client.upload_asset("#{gateway}/proxy/github/repos/o/r/releases/1", __FILE__, content_type: "text/plain")
  abort "An asset was uploaded."
rescue StandardError
end
begin
  client.pull_request("o/r", 1)
  abort "A pull request was read."
rescue Octokit::Forbidden => error
  expect "required", JSON.parse(error.response_body)["required"], "github:pull_requests:read"
end
puts "octokit.rb works."
