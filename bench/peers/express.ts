import express from "express";
import { createProxyMiddleware } from "http-proxy-middleware";
import { Agent } from "node:http";
import { check, upstream, upstreamToken } from "./checks.ts";

/** Express with http-proxy-middleware and jose. `node bench/peers/express.ts PORT` */
const app = express();
app.disable("x-powered-by");
app.use("/proxy/github", (request, response, next) => {
  const refuseOrGoOn = (status: number) =>
    status === 200 ? next() : response.status(status).json({ error: "refused" });
  void check(request.headers.authorization, request.method, request.path).then(refuseOrGoOn);
});
app.use(
  "/proxy/github",
  createProxyMiddleware({
    target: upstream,
    agent: new Agent({ keepAlive: true }),
    on: {
      proxyReq: (proxied) => void proxied.setHeader("authorization", `Bearer ${upstreamToken}`),
    },
  }),
);
app.listen(Number(process.argv[2]), "127.0.0.1");
