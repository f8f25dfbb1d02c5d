import type { Catalogue } from "../permissions/catalogue.ts";
import type { CredentialScheme, SecretPart, ServiceDefinition } from "./service-definition.ts";
import { github } from "./services/github.ts";
import { hubspot } from "./services/hubspot.ts";
import { salesforce } from "./services/salesforce.ts";
import { slack } from "./services/slack.ts";
import { stripe } from "./services/stripe.ts";
import { zendesk } from "./services/zendesk.ts";
import { compileTable, overlaps, type RuleTable } from "./rule-table.ts";
import type { UpstreamSettings } from "../config/upstream-settings.ts";

/** The services that need no configuration but their credential. */
export const BUILT_IN_SERVICES: readonly ServiceDefinition[] = [zendesk, slack, hubspot, github, salesforce, stripe];

/** A service as the gateway uses it. */
export interface Service {
  readonly name: string;
  /** Null where every customer has a host of its own and none is configured. */
  readonly origin: string | null;
  /** Path prefix of the API, without a slash at the end: `""` or `/api/v3`. */
  readonly basePath: string;
  readonly credential: CredentialScheme;
  readonly definition: ServiceDefinition;
  /** How long the upstream may take to begin its answer, in milliseconds. */
  readonly timeoutMs: number;
  readonly table: () => RuleTable;
}

const DEFAULT_TIMEOUT_MS = 30_000;

/** The name of the secret that holds a part of a service's credential. */
export const secretName = (createService: string, part: SecretPart): string =>
  `UPSTREAM_${createService.replaceAll("-", "_").toUpperCase()}_${part}`;

/**
 * The built-in services with the operator's overrides, then the operator's own. Faults name the upstream and the rule.
 *
 * @param ownOrigin the gateway's own origin, which cannot be an upstream's; empty where it is not configured.
 */
export function loadServices(
  upstreams: ReadonlyMap<string, UpstreamSettings>,
  builtIn: Catalogue,
  ownOrigin = "",
): { services: Map<string, Service>; catalogue: Catalogue; faults: string[] } {
  const services = new Map<string, Service>();
  const catalogue: Record<string, Catalogue[string]> = { ...builtIn };
  const faults: string[] = [];

  for (const [name, { base_url }] of upstreams) {
    if (base_url && ownOrigin && new URL(base_url).origin === ownOrigin) {
      faults.push(`UPSTREAMS.${name}.base_url: is the gateway's own origin (ISSUER): it would call itself.`);
    }
  }
  for (const definition of BUILT_IN_SERVICES) {
    const settings = upstreams.get(definition.name);
    if (settings?.rules || settings?.resources || settings?.refuse_parameters) {
      faults.push(
        `UPSTREAMS.${definition.name}: only base_url, credential, timeout_ms and response_headers of a built-in service can be set.`,
      );
    }
    services.set(definition.name, service(definition, settings, catalogue));
  }

  for (const [name, settings] of upstreams) {
    if (services.has(name)) continue;
    if (!settings.base_url || !settings.rules || !settings.resources) {
      faults.push(`UPSTREAMS.${name}: base_url, resources and rules are all needed.`);
      continue;
    }
    catalogue[name] = settings.resources;
    const definition: ServiceDefinition = {
      name,
      baseUrl: settings.base_url,
      credential: settings.credential ?? { scheme: "bearer" },
      rules: settings.rules,
      ...(settings.refuse_parameters && { refusedParameters: settings.refuse_parameters }),
    };
    const own = service(definition, settings, catalogue);
    const wrong = settings.rules.flatMap((rule) => findFaults({ ...definition, rules: [rule] }, catalogue));
    faults.push(...wrong.map((fault) => `UPSTREAMS.${name}: ${fault}.`));
    for (const [earlier, rule] of wrong.length === 0 ? overlaps(own.table().rules) : []) {
      faults.push(
        `UPSTREAMS.${name}: the rules "${earlier.source}" and "${rule.source}" overlap: a request could match both. Give one parameter a type or a choice.`,
      );
    }
    const namesake = [...services.keys()].find((other) => secretName(other, "TOKEN") === secretName(name, "TOKEN"));
    if (namesake) {
      faults.push(
        `UPSTREAMS.${name}: its secrets would have the names of ${namesake}'s (${secretName(name, "TOKEN")}). Rename one.`,
      );
    }
    services.set(name, own);
  }
  return { services, catalogue, faults };
}

function findFaults(definition: ServiceDefinition, catalogue: Catalogue): string[] {
  try {
    compileTable(definition, catalogue);
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}

function service(definition: ServiceDefinition, settings: UpstreamSettings | undefined, catalogue: Catalogue): Service {
  const baseUrl = settings?.base_url ?? definition.baseUrl;
  const base = baseUrl === undefined ? null : new URL(baseUrl);
  const basePath = base?.pathname.replace(/\/$/, "") ?? "";
  const prefix = definition.pathPrefix;
  const { responseHeaders = [] } = definition;
  const more = settings?.response_headers?.map((name) => name.toLowerCase()) ?? [];
  let table: RuleTable | undefined;
  return {
    name: definition.name,
    origin: base?.origin ?? null,
    // A base URL that ends in the prefix that every path gets means it once.
    basePath: prefix && basePath.endsWith(prefix) ? basePath.slice(0, -prefix.length) : basePath,
    credential: settings?.credential ?? definition.credential,
    definition: more.length > 0 ? { ...definition, responseHeaders: [...responseHeaders, ...more] } : definition,
    timeoutMs: settings?.timeout_ms ?? DEFAULT_TIMEOUT_MS,
    // Most isolates serve few of the services: a table is read when its first request comes.
    table: () => (table ??= compileTable(definition, catalogue)),
  };
}
