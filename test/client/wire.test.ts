import { describe, expect, expectTypeOf, it } from "vitest";
import type * as z from "zod/mini";
import type { activityAnswers } from "../../src/activity/answers.ts";
import type { agentAnswers } from "../../src/agents/answers.ts";
import type * as agentBodies from "../../src/agents/schemas.ts";
import { Permissions, reaches, type KnownPermission, type Permission } from "../../src/client/permissions.ts";
import type * as wire from "../../src/client/wire.ts";
import type { gatewayAnswers } from "../../src/gateway/answers.ts";
import type { healthAnswers } from "../../src/http/health-answers.ts";
import { BUILT_IN_CATALOGUE, listService } from "../../src/permissions/catalogue.ts";
import { whyNotGrantable } from "../../src/permissions/grammar.ts";
import type { permissionAnswers } from "../../src/permissions/answers.ts";
import type { tokenAnswers } from "../../src/tokens/answers.ts";
import type { EVENTS } from "../../src/webhooks/event.ts";
import type { webhookAnswers } from "../../src/webhooks/answers.ts";

type Answers = typeof agentAnswers &
  typeof tokenAnswers &
  typeof activityAnswers &
  typeof webhookAnswers &
  typeof permissionAnswers &
  typeof gatewayAnswers &
  typeof healthAnswers;
type Answer<Endpoint extends keyof Answers> = Answers[Endpoint] extends { answer: infer Schema extends z.ZodMiniType }
  ? z.infer<Schema>
  : never;

describe("the SDK's types", () => {
  it("are what the server's schemas say of its answers", () => {
    expectTypeOf<wire.RegisterAgentResponse>().toEqualTypeOf<Answer<"POST /agents/register">>();
    expectTypeOf<wire.VerifyAgentResponse>().toEqualTypeOf<Answer<"POST /agents/verify">>();
    expectTypeOf<wire.RefreshTokenResponse>().toEqualTypeOf<Answer<"POST /agents/refresh">>();
    expectTypeOf<wire.RevokeTokensResponse>().toEqualTypeOf<Answer<"POST /agents/revoke-tokens">>();
    expectTypeOf<wire.AgentListResponse>().toEqualTypeOf<Answer<"GET /agents">>();
    expectTypeOf<wire.AgentResponse>().toEqualTypeOf<Answer<"GET /agents/{id}">>();
    expectTypeOf<wire.AgentChangeResponse>().toEqualTypeOf<Answer<"PUT /agents/{id}/tier">>();
    expectTypeOf<wire.RotateKeyResponse>().toEqualTypeOf<Answer<"POST /agents/{id}/rotate-key">>();
    expectTypeOf<wire.DoneResponse>().toEqualTypeOf<Answer<"DELETE /agents/{id}">>();
    expectTypeOf<wire.ActivityResponse>().toEqualTypeOf<Answer<"GET /agents/{id}/activity">>();
    expectTypeOf<wire.AllActivityResponse>().toEqualTypeOf<Answer<"GET /activity">>();
    expectTypeOf<wire.NewWebhookResponse>().toEqualTypeOf<Answer<"POST /webhooks">>();
    expectTypeOf<wire.WebhookListResponse>().toEqualTypeOf<Answer<"GET /webhooks">>();
    expectTypeOf<wire.WebhookResponse>().toEqualTypeOf<Answer<"PUT /webhooks/{id}">>();
    expectTypeOf<wire.DeliveryListResponse>().toEqualTypeOf<Answer<"GET /webhooks/{id}/deliveries">>();
    expectTypeOf<wire.DeliveryResponse>().toEqualTypeOf<Answer<"POST /webhooks/{id}/test">>();
    expectTypeOf<wire.WebhookEventsResponse>().toEqualTypeOf<Answer<"GET /webhooks/events">>();
    expectTypeOf<wire.PermissionListResponse>().toEqualTypeOf<Answer<"GET /permissions/list">>();
    expectTypeOf<wire.HealthResponse>().toEqualTypeOf<Answer<"GET /health">>();
    expectTypeOf<wire.ExplainResponse>().toEqualTypeOf<Answer<"POST /proxy/_explain">>();
    expectTypeOf<(typeof EVENTS)[number]>().toEqualTypeOf<wire.EventName>();
  });

  it("are taken by the server's schemas as requests", () => {
    expectTypeOf<wire.RegisterAgentRequest>().toExtend<z.input<typeof agentBodies.registerBody>>();
    expectTypeOf<{ tier: wire.Tier }>().toExtend<z.input<typeof agentBodies.tierBody>>();
    expectTypeOf<{ status: wire.AgentStatus }>().toExtend<z.input<typeof agentBodies.statusBody>>();
  });
});

describe("Permissions", () => {
  const leaves = (tree: object): string[] =>
    Object.values(tree).flatMap((value) => (typeof value === "string" ? [value] : leaves(value as object)));

  it("holds all that the server's catalogue can grant, and nothing else", () => {
    const listed = leaves(Permissions);
    expect(new Set(listed).size).toBe(listed.length);
    for (const one of listed) expect(whyNotGrantable(one, BUILT_IN_CATALOGUE)).toBeUndefined();
    const concrete = Object.keys(BUILT_IN_CATALOGUE).flatMap((service) => listService(BUILT_IN_CATALOGUE, service));
    const resources = Object.entries(BUILT_IN_CATALOGUE).flatMap(([service, named]) =>
      Object.keys(named).map((resource) => `${service}:${resource}:*`),
    );
    const services = Object.keys(BUILT_IN_CATALOGUE).map((service) => `${service}:*:*`);
    expect(listed.toSorted()).toEqual([...concrete, ...resources, ...services, "*:*:*"].sort());
  });

  it("are completed to their literal types", () => {
    expectTypeOf(Permissions.Zendesk.Tickets.Read).toEqualTypeOf<"zendesk:tickets:read">();
    expectTypeOf(Permissions.HubSpot.All).toEqualTypeOf<"hubspot:*:*">();
    expectTypeOf(Permissions.GitHub.PullRequests.All).toEqualTypeOf<"github:pull_requests:*">();
    expectTypeOf(Permissions.Admin).toEqualTypeOf<"*:*:*">();
    expectTypeOf<"stripe:invoices:read">().toExtend<KnownPermission>();
    expectTypeOf<"stripe:invoices:write">().not.toExtend<KnownPermission>();
    expect(Permissions.GitHub.PullRequests.Read).toBe("github:pull_requests:read");
  });

  it("are, as a type, every text that could be one, and no other", () => {
    expectTypeOf<
      "zendesk:tickets:read" | "orders:orders:write" | "orders:orders:*" | "orders:*:*" | "*:*:*"
    >().toExtend<Permission>();
    expectTypeOf<"invalid:permission">().not.toExtend<Permission>();
    expectTypeOf<"*:tickets:read">().not.toExtend<Permission>();
    expectTypeOf<"zendesk:*:read">().not.toExtend<Permission>();
    expectTypeOf<"Zendesk:tickets:read">().not.toExtend<Permission>();
    expectTypeOf<"">().not.toExtend<Permission>();
    expectTypeOf<string>().not.toExtend<Permission>();
  });

  it.each<[string[], Permission, boolean]>([
    [["github:issues:read"], "github:issues:read", true],
    [["github:issues:*"], "github:issues:read", true],
    [["github:*:*"], "github:issues:read", true],
    [["*:*:*"], "github:issues:read", true],
    [["github:issues:write"], "github:issues:read", false],
    [["github:repos:*", "slack:*:*"], "github:issues:read", false],
    [[], "github:issues:read", false],
  ])("%j reach %s: %s", (granted, permission, expected) => {
    expect(reaches(granted, permission)).toBe(expected);
  });
});
