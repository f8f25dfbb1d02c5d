import * as z from "zod/mini";
import { route } from "../access/route.ts";
import { unknownSettings, type Config } from "../config/config.ts";
import { once } from "../validation/once.ts";

const value = once(() => z.nullable(z.union([z.string(), z.number(), z.boolean(), z.array(z.string())])));

/** The settings in force that are no secrets, by their names. */
const settingsOf = (config: Config): Record<string, z.input<ReturnType<typeof value>>> => ({
  ENVIRONMENT: config.development ? "development" : "production",
  ISSUER: config.issuer,
  AUDIENCE: config.audience,
  REGISTRATION: config.registration,
  BOOTSTRAP: config.keepsBootstrap ? "keep" : null,
  ACCESS_TOKEN_TTL_SECONDS: config.accessTokenTtl,
  REFRESH_TOKEN_TTL_SECONDS: config.refreshTokenTtl,
  REFRESH_FAMILY_TTL_SECONDS: config.refreshFamilyTtl,
  REFRESH_GRACE_SECONDS: config.refreshGrace,
  STANDING_TTL_SECONDS: config.standingTtl,
  SESSIONS_PER_AGENT: config.sessionsPerAgent,
  DELEGATION_DEPTH: config.delegationDepth,
  TRUSTED_ISSUERS: config.trustedIssuers.map(({ issuer }) => issuer),
  OIDC_ISSUER: config.oidc?.issuer ?? null,
  OIDC_CLIENT_ID: config.oidc?.clientId ?? null,
  OIDC_ROLE_CLAIM: config.oidc?.roleClaim ?? null,
  UNAPPROVED_AGENT_DAYS: config.unapprovedAgentDays,
  ACTIVITY_RETENTION_DAYS: config.activityRetentionDays,
  AUDIT_RETENTION_DAYS: config.auditRetentionDays,
  AUDIT_ON_FAILURE: config.auditOnFailure,
  // Some receivers have a token in the path.
  OTLP_ENDPOINT: config.otlp && new URL(config.otlp.url).origin,
  BODY_TIMEOUT_MS: config.bodyTimeoutMs,
  CORS_ORIGINS: [...config.corsOrigins],
  WEBHOOK_ALLOW_LOOPBACK: config.webhookAllowLoopback,
  WEBHOOK_PORTS: config.webhookPorts.map(String),
});

/** How many keys each secret has; of one that is not set, none. Never a value. */
const secretsOf = (config: Config): Record<string, number> => ({
  SIGNING_KEYS: config.signingKeys.length,
  WEBHOOK_KEYS: config.webhookKeys.length,
  DATA_KEYS: config.dataKeys.length,
  SECRET_PEPPER: config.peppers.length,
  ADMIN_BOOTSTRAP_TOKEN: config.adminBootstrapToken === null ? 0 : 1,
  OIDC_CLIENT_SECRET: config.oidc === null ? 0 : 1,
  OTLP_HEADERS: Object.keys(config.otlp?.headers ?? {}).length,
});

export const settingsRoutes = [
  route({
    method: "GET",
    path: "/settings",
    auth: "admin",
    summary:
      "The settings in force, how many keys each secret has, and variables that are no settings; no value of a secret",
    response: () =>
      z.object({
        success: z.literal(true),
        settings: z.record(z.string(), value()).check(z.describe("By name. Null for a setting that is not set.")),
        secrets: z.record(z.string(), z.int()).check(z.describe("How many keys each has; 0 for one that is not set.")),
        warnings: z
          .array(z.string())
          .check(z.describe("Variables that the Worker does not read, most of them misspelt.")),
      }),
    handle: ({ env, config }) => ({
      success: true,
      settings: settingsOf(config),
      secrets: secretsOf(config),
      warnings: unknownSettings(env as unknown as Record<string, unknown>, config.services.keys()),
    }),
  }),
];
