const NAME = "github_get_repo_issue";

/** The head of a call of a tool of the MCP server, without what every request has. */
export const CALL_HEAD: readonly string[] = [
  "POST /mcp HTTP/1.1",
  "Content-Type: application/json",
  "MCP-Protocol-Version: 2026-07-28",
  "Mcp-Method: tools/call",
  `Mcp-Name: ${NAME}`,
];

/** Its body: `GET /repos/octo/hello/issues/5` of GitHub. */
export const CALL_BODY = JSON.stringify({
  jsonrpc: "2.0",
  id: 1,
  method: "tools/call",
  params: {
    name: NAME,
    arguments: { owner: "octo", repo: "hello", issue_number: 5 },
    _meta: {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientCapabilities": {},
    },
  },
});
