import express from "express";
import { Hono } from "hono";
import { requirePermission as forExpress } from "agentauth/express";
import { requirePermission as forHono } from "agentauth/hono";
import { requirePermission as forNext } from "agentauth/next";

const issuer = process.env.AGENTAUTH_URL ?? "http://localhost:8787";

// Hono
export const hono = new Hono().get("/tickets", forHono("zendesk:tickets:read", { issuer }), (c) =>
  c.json({ agent: c.get("agent").agentId }),
);

// Express
export const app = express();
app.get("/tickets", forExpress("zendesk:tickets:read", { issuer }), (request, response) => {
  response.json({ agent: request.agent?.agentId });
});

// Next.js: app/tickets/route.ts
export const GET = forNext("zendesk:tickets:read", { issuer })((request) =>
  Response.json({ agent: request.agent.agentId }),
);
