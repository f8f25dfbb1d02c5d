import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** The settings of the sample upstream: an orders API with a Bearer credential. */
export const SAMPLE_RULES = {
  resources: { orders: ["read", "write"] },
  rules: [
    "GET /orders orders:read",
    "POST /orders orders:write",
    "GET /orders/{id:int} orders:read",
    "DELETE /orders/{id:int} orders:write",
  ],
};

interface Order {
  id: number;
  item: string;
}

/**
 * Starts a small real API to stand behind the gateway on a laptop. It requires `Authorization: Bearer <token>`. `GET /_last-request`,
 * which the gateway never forwards, shows the request that it received last.
 */
export function startSampleUpstream(token: string): Promise<{ server: Server; url: string }> {
  const orders = new Map<number, Order>([
    [1, { id: 1, item: "lamp" }],
    [2, { id: 2, item: "desk" }],
  ]);
  let lastRequest: unknown = null;

  const server = createServer(async (request, response) => {
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    };
    if (request.url === "/_last-request") return answer(200, lastRequest);
    lastRequest = { method: request.method, url: request.url, authorization: request.headers.authorization ?? null };
    if (request.headers.authorization !== `Bearer ${token}`) return answer(401, { error: "wrong credential" });

    const id = Number(/^\/orders\/(\d+)$/.exec(request.url ?? "")?.[1]);
    const order = orders.get(id);
    if (request.method === "GET" && request.url === "/orders") return answer(200, { orders: [...orders.values()] });
    if (request.method === "GET" && order) return answer(200, order);
    if (request.method === "DELETE" && orders.delete(id)) return answer(200, { deleted: id });
    if (request.method === "POST" && request.url === "/orders") {
      let text = "";
      for await (const chunk of request) text += chunk;
      try {
        const made = { id: Math.max(0, ...orders.keys()) + 1, item: String(JSON.parse(text).item) };
        orders.set(made.id, made);
        return answer(201, made);
      } catch {
        return answer(400, { error: "send { item }" });
      }
    }
    return answer(404, { error: "no such order" });
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () =>
      resolve({ server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }),
    );
  });
}
