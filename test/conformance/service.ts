import { expect } from "vitest";
import { admin, atLeast, call, exactly, isError } from "./client.ts";
import type { Check, Endpoint } from "./contract.ts";

/** What every deployment can grant; its configuration may add to it. */
const CATALOGUE = {
  zendesk: ["tickets:read", "tickets:write", "users:read", "users:write"],
  slack: ["messages:read", "messages:write", "channels:read", "channels:write"],
  hubspot: ["contacts:read", "contacts:write", "deals:read", "deals:write", "companies:read"],
  github: ["repos:read", "repos:write", "issues:read", "issues:write", "pull_requests:read"],
  salesforce: ["accounts:read", "accounts:write", "leads:read", "leads:write"],
  stripe: ["payments:read", "customers:read", "invoices:read"],
};

const SERVICE_KEYS = "name built_in base_url credential secrets resources rule_count".split(" ");

export const serviceEndpoints = {
  async "GET /permissions/list"() {
    const answer = await call("GET", "/permissions/list");
    atLeast(answer, 200, "permissions format examples wildcards");
    for (const [service, names] of Object.entries(CATALOGUE)) {
      const permissions = names.map((name) => `${service}:${name}`);
      expect(answer.body.permissions[service]).toEqual(expect.arrayContaining(permissions));
    }
    expect(answer.body.format).toEqual(expect.any(String));
    expect(answer.body.examples).toEqual(expect.arrayContaining([expect.stringMatching(/^\w+:\w+:\w+$/)]));
    expect(Object.keys(answer.body.wildcards).sort()).toEqual(["admin", "resource", "service"]);
  },

  async "GET /health"() {
    const answer = await call("GET", "/health");
    exactly(answer, 200, "status database timestamp");
    expect(answer.body).toMatchObject({ status: "healthy", database: "connected" });
    expect(Math.abs(Date.parse(answer.body.timestamp) - Date.now())).toBeLessThan(300_000);
  },

  async "GET /audit/export"() {
    for (const [format, type] of [
      ["jsonl", "application/jsonl; charset=utf-8"],
      ["csv", "text/csv; charset=utf-8; header=present"],
    ]) {
      const answer = await call("GET", `/audit/export?format=${format}&outcome=success`, { token: admin.token });
      expect([answer.status, answer.headers.get("content-type")]).toEqual([200, type]);
    }
    isError(await call("GET", "/audit/export?format=xml", { token: admin.token }), 400);
  },

  async "GET /settings"() {
    exactly(await call("GET", "/settings", { token: admin.token }), 200, "success settings secrets warnings");
  },

  async "GET /services"() {
    const answer = await call("GET", "/services", { token: admin.token });
    exactly(answer, 200, "success services");
    for (const service of answer.body.services) {
      expect(Object.keys(service)).toEqual(SERVICE_KEYS);
      // Names of secrets, and never a value.
      for (const secret of service.secrets) expect(secret).toMatch(/^UPSTREAM_[A-Z0-9_]+$/);
    }
    expect(answer.body.services.map(({ name }: { name: string }) => name)).toContain("github");
  },

  async "GET /services/{name}"() {
    const answer = await call("GET", "/services/github", { token: admin.token });
    exactly(answer, 200, "success service rules");
    expect(Object.keys(answer.body.service)).toEqual(SERVICE_KEYS);
    expect(answer.body.rules.length).toBe(answer.body.service.rule_count);
    isError(await call("GET", "/services/none", { token: admin.token }), 404);
  },

  async "POST /services/{name}/check"() {
    // A service that is not there: a deployment's own are not called by a test.
    isError(await call("POST", "/services/none/check", { token: admin.token }), 404);
  },

  async "POST /proxy/_explain"() {
    const json = { service: "github", method: "GET", path: "/repos/o/r/issues", permissions: ["github:issues:read"] };
    const answer = await call("POST", "/proxy/_explain", { token: admin.token, json });
    atLeast(answer, 200, "service method path required decision code message");
    expect(answer.body).toMatchObject({ decision: "allow", required: "github:issues:read" });
  },

  async "GET /audit/counts"() {
    const answer = await call("GET", "/audit/counts?hours=3", { token: admin.token });
    exactly(answer, 200, "success hours");
    expect(answer.body.hours).toHaveLength(3);
    for (const hour of answer.body.hours)
      expect(Object.keys(hour)).toEqual(["at", "success", "denied", "failed", "unknown"]);
    isError(await call("GET", "/audit/counts?hours=0", { token: admin.token }), 400);
  },

  async "GET /metrics"() {
    const answer = await call("GET", "/metrics", { token: admin.token });
    expect([answer.status, answer.headers.get("content-type")]).toEqual([
      200,
      "application/openmetrics-text; version=1.0.0; charset=utf-8",
    ]);
    expect(answer.text).toMatch(/^agentauth_agents\{status="active"\} [1-9]\d*$/m);
    expect(answer.text).toMatch(/\n# EOF\n$/);
  },

  async "GET /health/details"() {
    const answer = await call("GET", "/health/details", { token: admin.token });
    exactly(answer, 200, "success status timestamp parts");
    for (const part of answer.body.parts)
      expect(Object.keys(part)).toEqual(["name", "status", "since", "message", "numbers"]);
    const parts = answer.body.parts.map(({ name }: { name: string }) => name);
    expect(parts).toEqual(expect.arrayContaining(["database", "audit_database", "audit_archive", "otlp"]));
  },
} satisfies Partial<Record<Endpoint, Check>>;
