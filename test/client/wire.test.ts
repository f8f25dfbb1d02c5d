import { describe, expect, expectTypeOf, it } from "vitest";
import type * as z from "zod/mini";
import type { activityAnswers } from "../../src/activity/answers.ts";
import type { agentAnswers } from "../../src/agents/answers.ts";
import type * as agentBodies from "../../src/agents/schemas.ts";
import { Permissions, reaches, type KnownPermission, type Permission } from "../../src/client/permissions.ts";
import type * as wire from "../../src/client/wire.ts";
import type { activityQuery, pageQuery } from "../../src/activity/schemas.ts";
import type { gatewayAnswers } from "../../src/gateway/answers.ts";
import type { healthAnswers } from "../../src/http/health-answers.ts";
import { BUILT_IN_CATALOGUE, listService } from "../../src/permissions/catalogue.ts";
import { whyNotGrantable } from "../../src/permissions/grammar.ts";
import type { permissionAnswers } from "../../src/permissions/answers.ts";
import type { tokenAnswers } from "../../src/tokens/answers.ts";
import { reaches as serverReaches } from "../../src/permissions/match.ts";
import type * as tokenBodies from "../../src/tokens/schemas.ts";
import type * as webhookBodies from "../../src/webhooks/schemas.ts";
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

/** What the server calls a string the SDK calls a permission, where it is one. */
type Plain<T> = [Permission, T] extends [T, Permission]
  ? string
  : T extends readonly (infer One)[]
    ? Plain<One>[]
    : T extends object
      ? { [Key in keyof T]: Plain<T[Key]> }
      : T;

describe("the SDK's types", () => {
  it("are what the server's schemas say of its answers", () => {
    expectTypeOf<Plain<wire.RegisterAgentResponse>>().toEqualTypeOf<Answer<"POST /agents/register">>();
    expectTypeOf<Plain<wire.VerifyAgentResponse>>().toEqualTypeOf<Answer<"POST /agents/verify">>();
    expectTypeOf<Plain<wire.RefreshTokenResponse>>().toEqualTypeOf<Answer<"POST /agents/refresh">>();
    expectTypeOf<Plain<wire.RevokeTokensResponse>>().toEqualTypeOf<Answer<"POST /agents/revoke-tokens">>();
    expectTypeOf<Plain<wire.AgentListResponse>>().toEqualTypeOf<Answer<"GET /agents">>();
    expectTypeOf<Plain<wire.AgentResponse>>().toEqualTypeOf<Answer<"GET /agents/{id}">>();
    expectTypeOf<Plain<wire.AgentChangeResponse>>().toEqualTypeOf<Answer<"PUT /agents/{id}/tier">>();
    expectTypeOf<Plain<wire.RotateKeyResponse>>().toEqualTypeOf<Answer<"POST /agents/{id}/rotate-key">>();
    expectTypeOf<Plain<wire.DoneResponse>>().toEqualTypeOf<Answer<"DELETE /agents/{id}">>();
    expectTypeOf<Plain<wire.ActivityResponse>>().toEqualTypeOf<Answer<"GET /agents/{id}/activity">>();
    expectTypeOf<Plain<wire.AllActivityResponse>>().toEqualTypeOf<Answer<"GET /activity">>();
    expectTypeOf<Plain<wire.NewWebhookResponse>>().toEqualTypeOf<Answer<"POST /webhooks">>();
    expectTypeOf<Plain<wire.WebhookListResponse>>().toEqualTypeOf<Answer<"GET /webhooks">>();
    expectTypeOf<Plain<wire.WebhookResponse>>().toEqualTypeOf<Answer<"PUT /webhooks/{id}">>();
    expectTypeOf<Plain<wire.DeliveryListResponse>>().toEqualTypeOf<Answer<"GET /webhooks/{id}/deliveries">>();
    expectTypeOf<Plain<wire.DeliveryResponse>>().toEqualTypeOf<Answer<"POST /webhooks/{id}/test">>();
    expectTypeOf<Plain<wire.WebhookEventsResponse>>().toEqualTypeOf<Answer<"GET /webhooks/events">>();
    expectTypeOf<Plain<wire.PermissionListResponse>>().toEqualTypeOf<Answer<"GET /permissions/list">>();
    expectTypeOf<Plain<wire.HealthResponse>>().toEqualTypeOf<Answer<"GET /health">>();
    expectTypeOf<Plain<wire.ExplainResponse>>().toEqualTypeOf<Answer<"POST /proxy/_explain">>();
    expectTypeOf<(typeof EVENTS)[number]>().toEqualTypeOf<wire.EventName>();
  });

  it("are taken by the server's schemas as requests", () => {
    // Required on both sides: else a key that the server does not know would pass for one that may be left out.
    type Body<Schema extends z.ZodMiniType> = Required<Exclude<z.input<Schema>, undefined>>;
    expectTypeOf<Required<wire.RegisterAgentRequest>>().toExtend<Body<typeof agentBodies.registerBody>>();
    expectTypeOf<{ tier: wire.Tier }>().toExtend<Body<typeof agentBodies.tierBody>>();
    expectTypeOf<{ status: wire.AgentStatus }>().toExtend<Body<typeof agentBodies.statusBody>>();
    expectTypeOf<{ permissions: Permission[] }>().toExtend<Body<typeof agentBodies.permissionsBody>>();
    expectTypeOf<Required<wire.OverlapRequest>>().toExtend<Body<typeof agentBodies.rotateKeyBody>>();
    expectTypeOf<wire.VerifyAgentRequest>().toExtend<Body<typeof tokenBodies.verifyBody>>();
    expectTypeOf<wire.RefreshTokenRequest>().toExtend<Body<typeof tokenBodies.refreshBody>>();
    expectTypeOf<Required<wire.RegisterWebhookRequest>>().toExtend<Body<typeof webhookBodies.createBody>>();
    expectTypeOf<Required<wire.UpdateWebhookRequest>>().toExtend<Body<typeof webhookBodies.updateBody>>();
    expectTypeOf<Required<wire.OverlapRequest>>().toExtend<Body<typeof webhookBodies.regenerateBody>>();
    // Numbers of a query are text on the wire: of these the keys are compared.
    expectTypeOf<keyof wire.ListAgentsQuery>().toEqualTypeOf<keyof z.input<typeof agentBodies.agentsQuery>>();
    expectTypeOf<keyof wire.ActivityQuery>().toEqualTypeOf<keyof z.input<typeof pageQuery>>();
    expectTypeOf<keyof wire.AllActivityQuery>().toEqualTypeOf<keyof z.input<typeof activityQuery>>();
    expectTypeOf<keyof wire.DeliveriesQuery>().toEqualTypeOf<keyof z.input<typeof webhookBodies.deliveryQuery>>();
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
    const taken: Permission[] = ["zendesk:tickets:read", "zendesk:tickets:*", "zendesk:*:*", "orders:orders:write"];
    // @ts-expect-error two parts are no permission
    taken.push("invalid:permission");
    // @ts-expect-error no wildcard but at the end
    taken.push("*:tickets:read");
    expect(whyNotGrantable(taken.at(-2)!, BUILT_IN_CATALOGUE)).toBeDefined();
  });

  it("reach of a built-in service what they reach at the gateway", () => {
    const concrete = Object.keys(BUILT_IN_CATALOGUE).flatMap((service) => listService(BUILT_IN_CATALOGUE, service));
    const unlisted = ["stripe:payments:write", "github:pull_requests:write", "zendesk:macros:read"] as Permission[];
    const differing = leaves(Permissions).flatMap((grant) =>
      [...(concrete as Permission[]), ...unlisted, Permissions.HubSpot.All, Permissions.Admin]
        .filter((wanted) => reaches([grant], wanted) !== serverReaches(new Set([grant]), wanted, BUILT_IN_CATALOGUE))
        .map((wanted) => `${grant} → ${wanted}`),
    );
    expect(differing).toEqual([]);
  });

  it.each<[string[], Permission, boolean]>([
    [["github:repos:*", "github:issues:read"], "github:issues:read", true],
    [["orders:orders:*"], "orders:orders:write", true],
    [["orders:*:*"], "orders:orders:write", true],
    [["orders:orders:read"], "orders:orders:write", false],
    [["stripe:payments:*"], "stripe:payments:write", false],
    [["github:repos:*", "slack:*:*"], "github:issues:read", false],
    [[], "github:issues:read", false],
  ])("%j reach %s: %s", (granted, permission, expected) => {
    expect(reaches(granted, permission)).toBe(expected);
  });
});
