import type { Answer, World } from "../support/world.ts";

/** What a client of 2026-07-28 says about itself in every request. */
export const META = {
  "io.modelcontextprotocol/protocolVersion": "2026-07-28",
  "io.modelcontextprotocol/clientInfo": { name: "test", version: "1" },
  "io.modelcontextprotocol/clientCapabilities": {},
};

type Sent = { token?: string | undefined; headers?: Record<string, string>; path?: string; ip?: string };

/** Sends a request of 2026-07-28 with the headers that belong to it. `headers` replaces them; an empty one is left out. */
export function modern(
  { call }: Pick<World, "call">,
  method: string,
  params: Record<string, unknown> = {},
  { token, headers = {}, path = "/mcp", ip }: Sent = {},
): Promise<Answer> {
  const name = params.name ?? params.uri;
  const all: Record<string, string> = {
    accept: "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": method,
    ...(typeof name === "string" && { "mcp-name": name }),
    ...headers,
  };
  return call(path, {
    method: "POST",
    headers: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== "")),
    json: { jsonrpc: "2.0", id: 1, method, params: { _meta: META, ...params } },
    ...(token !== undefined && { token }),
    ...(ip !== undefined && { ip }),
  });
}

/** Sends a request of the revisions with `initialize`. */
export function legacy(
  { call }: Pick<World, "call">,
  method: string,
  params: Record<string, unknown> = {},
  { token, headers = { "mcp-protocol-version": "2025-11-25" }, path = "/mcp" }: Sent = {},
): Promise<Answer> {
  const accept = "application/json, text/event-stream";
  const json = { jsonrpc: "2.0", id: 1, method, params };
  return call(path, { method: "POST", headers: { accept, ...headers }, json, ...(token !== undefined && { token }) });
}

/** Calls a tool as a client of 2026-07-28 and returns its result. */
export async function callTool(
  where: Pick<World, "call">,
  token: string,
  name: string,
  args: Record<string, unknown> = {},
  path = "/mcp",
) {
  const { status, body } = await modern(where, "tools/call", { name, arguments: args }, { token, path });
  if (status !== 200) throw new Error(`${name}: ${status} ${JSON.stringify(body)}`);
  return body.result ?? body;
}
