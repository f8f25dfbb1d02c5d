import * as z from "zod/mini";
import { originOf } from "../access/origin.ts";
import { route, type Call } from "../access/route.ts";
import { sendRecords } from "../audit/message.ts";
import { batchAsCaller } from "../authority/batch.ts";
import type { Config } from "../config/config.ts";
import { checkService, type CheckResult } from "../gateway/service-check.ts";
import { notFound } from "../http/errors.ts";
import { newEntry } from "../outbox/record.ts";
import { limitableAt } from "../policy/limits.ts";
import type { SecretPart } from "../policy/service-definition.ts";
import { BUILT_IN_SERVICES, secretName, type Service } from "../policy/services.ts";
import { once } from "../validation/once.ts";

const success = once(() => z.literal(true));

const SECRET_PARTS = ["TOKEN", "USERNAME", "CLIENT_ID", "CLIENT_SECRET", "PRIVATE_KEY"] as const satisfies SecretPart[];

const serviceSchema = once(() =>
  z.object({
    name: z.string(),
    built_in: z.boolean().check(z.describe("Whether AgentAuth knows it without configuration.")),
    base_url: z.nullable(z.string()).check(z.describe("Null if it has to be configured.")),
    credential: z.string().check(z.describe("The scheme by which the credential is sent; never the credential.")),
    secrets: z.array(z.string()).check(z.describe("The names of the secrets that are set; never their values.")),
    resources: z
      .record(z.string(), z.array(z.string()))
      .check(z.describe("What can be granted: the actions of each resource.")),
    rule_count: z.int(),
  }),
);

const BUILT_IN: ReadonlySet<string> = new Set(BUILT_IN_SERVICES.map(({ name }) => name));

function toService(service: Service, { catalogue, secret }: Config): z.input<ReturnType<typeof serviceSchema>> {
  const { name, origin, basePath, credential } = service;
  const parts = SECRET_PARTS.filter((part) => secret(name, part)?.trim());
  return {
    name,
    built_in: BUILT_IN.has(name),
    base_url: origin === null ? null : origin + basePath,
    credential: credential.scheme,
    secrets: parts.map((part) => secretName(name, part)),
    resources: Object.fromEntries(
      Object.entries(catalogue[name] ?? {}).map(([resource, actions]) => [resource, [...actions]]),
    ),
    rule_count: service.table().rules.length,
  };
}

/** @throws {ApiError} 404 */
function requireService({ config, params }: Pick<Call<"admin", "/services/{name}">, "config" | "params">): Service {
  const service = config.services.get(params.name);
  if (!service) throw notFound("The service");
  return service;
}

/** The services of the gateway: what is connected, what its rules reach, and whether its credential works. */
export const serviceRoutes = [
  route({
    method: "GET",
    path: "/services",
    auth: "admin",
    summary: "The services of the gateway: where each is, what can be granted, and which of its secrets are set",
    response: () => z.object({ success: success(), services: z.array(serviceSchema()) }),
    handle: ({ config }) => ({
      success: true,
      services: [...config.services.values()].map((service) => toService(service, config)),
    }),
  }),

  route({
    method: "GET",
    path: "/services/{name}",
    auth: "admin",
    summary: "One service, with its rules: which request needs which permission, and what a grant may limit there",
    response: () =>
      z.object({
        success: success(),
        service: serviceSchema(),
        rules: z.array(
          z.object({
            rule: z.string().check(z.describe("The line as it is written.")),
            methods: z.array(z.string()),
            required: z.array(z.string()).check(z.describe("The permissions that a request needs, all of them.")),
            limitable: z.array(z.string()).check(z.describe("The fields that a grant may limit here.")),
          }),
        ),
      }),
    handle(call) {
      const service = requireService(call);
      const { rules, limits } = service.table();
      const fields = limits();
      return {
        success: true,
        service: toService(service, call.config),
        rules: rules.map((rule) => ({
          rule: rule.source,
          methods: [...rule.methods],
          required: [...rule.required],
          limitable: limitableAt(fields, rule),
        })),
      };
    },
  }),

  route({
    method: "POST",
    path: "/services/{name}/check",
    auth: "admin",
    summary:
      "Send one small fixed request with a service's credential, to see whether the upstream takes it; it is recorded",
    changesNothing: true,
    response: () =>
      z.object({
        success: success(),
        outcome: z
          .enum(["works", "refused", "unclear", "unreachable", "not_configured"])
          .check(z.describe("`works`: the upstream takes the credential. `unclear`: its answer does not say.")),
        path: z.nullable(z.string()).check(z.describe("What was requested; null if nothing was sent.")),
        upstream_status: z.nullable(z.int()),
        duration_ms: z.nullable(z.int()),
        message: z.string().check(z.describe("What it means and what to do.")),
      }),
    async handle(call) {
      const { env, config, now, waitUntil } = call;
      const service = requireService(call);
      // The credential is used for nobody who has lost the right to it since the request was accepted.
      await batchAsCaller(env.DB, call.authority, []);
      const result = await checkService(service, config, { env, now, waitUntil });
      waitUntil(sendRecords(env, [{ entry: checkRecord(call, service, result) }]));
      const { outcome, path, upstreamStatus, durationMs, message } = result;
      return { success: true, outcome, path, upstream_status: upstreamStatus, duration_ms: durationMs, message };
    },
  }),
];

const checkRecord = (call: Call<"admin", "/services/{name}">, service: Service, result: CheckResult) =>
  newEntry("service.checked", call.now, originOf(call), {
    service: service.name,
    method: result.path === null ? null : "GET",
    path: result.path,
    upstreamStatus: result.upstreamStatus,
    durationMs: result.durationMs,
    outcome: result.outcome === "works" ? "success" : "failed",
    message: result.message,
  });
