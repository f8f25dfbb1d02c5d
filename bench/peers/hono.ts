import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { proxy } from "hono/proxy";
import { check, upstream, upstreamToken } from "./checks.ts";

/** Hono on Node with its proxy helper and jose. `node bench/peers/hono.ts PORT` */
const app = new Hono();
app.all("/proxy/github/*", async (c) => {
  const path = c.req.path.slice("/proxy/github".length);
  const status = await check(c.req.header("authorization"), c.req.method, path);
  if (status !== 200) return c.json({ error: "refused" }, status);
  return proxy(upstream + path, {
    raw: c.req.raw,
    headers: { ...c.req.header(), authorization: `Bearer ${upstreamToken}` },
  });
});
serve({ fetch: app.fetch, port: Number(process.argv[2]), hostname: "127.0.0.1" });
