import { OWN_CATALOGUE, type Catalogue } from "../permissions/catalogue.ts";
import { ANY, type HeaderRule } from "./header-rule.ts";
import {
  COMMON_REFUSED_PARAMETERS,
  type CredentialScheme,
  type OperationDescription,
  type SecretPart,
  type ServiceDefinition,
} from "./service-definition.ts";
import { github } from "./services/github.ts";
import { hubspot } from "./services/hubspot.ts";
import { salesforce } from "./services/salesforce.ts";
import { slack } from "./services/slack.ts";
import { stripe } from "./services/stripe.ts";
import { zendesk } from "./services/zendesk.ts";
import { extendService, refusedRules } from "./extend-service.ts";
import { limitFaults, type LimitDefinition } from "./limits.ts";
import type { Rule } from "./rule.ts";
import { compileTable, overlaps, type RuleTable } from "./rule-table.ts";

/** The services that need no configuration but their credential. */
export const BUILT_IN_SERVICES: readonly ServiceDefinition[] = [zendesk, slack, hubspot, github, salesforce, stripe];

/** A service as the gateway uses it. */
export interface Service {
  readonly name: string;
  /** Null if every customer has a host of its own and none is configured. */
  readonly origin: string | null;
  /** Path prefix of the API, without a slash at the end: `""` or `/api/v3`. */
  readonly basePath: string;
  readonly credential: CredentialScheme;
  readonly definition: ServiceDefinition;
  /** How long the upstream may take to begin its response, in milliseconds. */
  readonly timeoutMs: number;
  /** How long nothing of a body may arrive, the request's or the response's, in milliseconds. */
  readonly idleTimeoutMs: number;
  readonly table: () => RuleTable;
}

/** What an operator declares of an upstream: one of their own, or a built-in service to change. The shapes have been checked. */
export interface UpstreamSettings {
  readonly base_url?: string | undefined;
  readonly credential?: CredentialScheme | undefined;
  readonly resources?: Readonly<Record<string, readonly string[]>> | undefined;
  readonly rules?: readonly string[] | undefined;
  readonly limits?: Readonly<Record<string, LimitDefinition>> | undefined;
  readonly operations?: Readonly<Record<string, OperationDescription>> | undefined;
  readonly request_headers?: readonly string[] | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly agent_token?: { readonly header: string } | undefined;
  readonly response_headers?: readonly string[] | undefined;
  readonly refuse_parameters?: readonly string[] | undefined;
  readonly body_links?: readonly string[] | undefined;
  readonly removed_links?: readonly string[] | undefined;
  readonly timeout_ms?: number | undefined;
  readonly idle_timeout_ms?: number | undefined;
  readonly trailing_slash?: "strict" | "optional" | undefined;
  /** Of a built-in service: the names of the presets that are on. */
  readonly presets?: readonly string[] | undefined;
}

/** What is wrong with the declaration of an upstream. */
export interface UpstreamFault {
  readonly upstream: string;
  /** The keys that lead to the fault: `["rules", 2]`. Empty if it is about the upstream as a whole. */
  readonly path: readonly PropertyKey[];
  /** What is wrong and what to do, as sentences that begin after a colon. */
  readonly message: string;
}

const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_IDLE_TIMEOUT_MS = 60_000;

/** What an operator can say of their own upstreams only. A built-in service says it itself. */
const OWN_ONLY = [
  "operations",
  "refuse_parameters",
  "trailing_slash",
  "request_headers",
  "headers",
  "agent_token",
] as const;

/** Returns the name of the secret that contains one part of a service's credential: `UPSTREAM_GITHUB_TOKEN`. */
export const secretName = (service: string, part: SecretPart): string =>
  `UPSTREAM_${service.replaceAll("-", "_").toUpperCase()}_${part}`;

/**
 * Returns the built-in services with the operator's changes, and the operator's own services, with a catalogue of both.
 *
 * @param upstreams the operator's declarations by name.
 * @param builtIn the catalogue of the built-in services.
 * @param ownOrigin the gateway's own origin, which cannot be an upstream's; empty if it is not configured.
 * @param checked the names of declarations whose rules were found without faults when the Worker was built. They are not checked again:
 *   a thousand rules take a tenth of a second.
 * @returns also every fault in the declarations. If there is any, the services must not be used.
 */
export function loadServices(
  upstreams: ReadonlyMap<string, UpstreamSettings>,
  builtIn: Catalogue,
  ownOrigin = "",
  checked: ReadonlySet<string> = new Set(),
): { services: Map<string, Service>; catalogue: Catalogue; faults: UpstreamFault[] } {
  const services = new Map<string, Service>();
  const catalogue: Record<string, Catalogue[string]> = { ...builtIn, ...OWN_CATALOGUE };
  const faults: UpstreamFault[] = [];

  for (const [upstream, { base_url }] of upstreams) {
    if (base_url && ownOrigin && new URL(base_url).origin === ownOrigin) {
      const message = "is the gateway's own origin (ISSUER): it would call itself.";
      faults.push({ upstream, path: ["base_url"], message });
    }
  }
  for (const definition of BUILT_IN_SERVICES) {
    const settings = upstreams.get(definition.name);
    const { name } = definition;
    for (const key of OWN_ONLY) {
      if (settings?.[key] === undefined) continue;
      const message = `cannot be set of a built-in service, which says it itself.`;
      faults.push({ upstream: name, path: [key], message });
    }
    const extended = extendService(definition, catalogue[name] ?? {}, settings ?? {});
    for (const { index, message } of extended.unknown) {
      faults.push({ upstream: name, path: ["presets", index], message });
    }
    catalogue[name] = extended.resources;
    const service = createService(extended.definition, settings, catalogue);
    if (!checked.has(name)) {
      const ofRules = settings?.rules ? ruleFaults(extended.definition, service, catalogue, settings.rules) : [];
      const { limits } = definition;
      faults.push(...ofRules, ...(ofRules.length > 0 ? [] : faultsOfLimits(service, settings?.limits, limits)));
    }
    services.set(name, service);
  }

  for (const [name, settings] of upstreams) {
    if (services.has(name)) continue;
    if (settings.presets) {
      const message = `are for the built-in services (${BUILT_IN_SERVICES.map((one) => one.name).join(", ")}).`;
      faults.push({ upstream: name, path: ["presets"], message });
    }
    if (Object.hasOwn(OWN_CATALOGUE, name)) {
      faults.push({ upstream: name, path: [], message: "is the name of AgentAuth's own permissions. Rename it." });
      continue;
    }
    if (!settings.base_url || !settings.rules || !settings.resources) {
      faults.push({ upstream: name, path: [], message: "base_url, resources and rules are all needed." });
      continue;
    }
    catalogue[name] = settings.resources;
    faults.push(...headerFaults(name, settings));
    const definition: ServiceDefinition = {
      name,
      baseUrl: settings.base_url,
      credential: settings.credential ?? { scheme: "bearer" },
      rules: settings.rules,
      ...(settings.limits && { limits: settings.limits }),
      ...(settings.operations && { operations: settings.operations }),
      refusedParameters: settings.refuse_parameters ?? COMMON_REFUSED_PARAMETERS,
      trailingSlash: settings.trailing_slash,
      ...(settings.agent_token && {
        tokenPlaces: [{ scheme: "header", name: settings.agent_token.header.toLowerCase() } as const],
      }),
      ...(settings.headers && { fixedHeaders: inLowerCase(settings.headers) }),
      ...(settings.request_headers && {
        requestHeaders: Object.fromEntries(
          settings.request_headers.map((header) => [header.toLowerCase(), LISTED_HEADER] as const),
        ),
      }),
    };
    const own = createService(definition, settings, catalogue);
    if (!checked.has(name)) {
      const ofRules = ruleFaults(definition, own, catalogue, settings.rules);
      faults.push(...ofRules, ...(ofRules.length > 0 ? [] : faultsOfLimits(own, settings.limits)));
      if (ofRules.length === 0) faults.push(...faultsOfOperations(own));
    }
    const other = [...services.keys()].find((one) => secretName(one, "TOKEN") === secretName(name, "TOKEN"));
    if (other) {
      const message = `its secrets would have the same names as those of ${other} (${secretName(name, "TOKEN")}). Rename one.`;
      faults.push({ upstream: name, path: [], message });
    }
    services.set(name, own);
  }
  return { services, catalogue, faults };
}

/** A header that an operator lists. Without it a write may do something else: what it means only the upstream knows. */
const LISTED_HEADER: HeaderRule = {
  passes: ANY,
  otherwise: "refuse_write",
  because: "Connection names it, which removes it",
};

const inLowerCase = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([header, value]) => [header.toLowerCase(), value]));

/** Every header that is set or passed on in the place of the credential, and every one that is both set and passed on. */
function headerFaults(
  upstream: string,
  { credential, headers = {}, request_headers = [], agent_token }: UpstreamSettings,
): UpstreamFault[] {
  const own = credentialHeaders(credential);
  const fixed = new Set(Object.keys(headers).map((header) => header.toLowerCase()));
  const faults: UpstreamFault[] = [];
  const agentToken = agent_token?.header.toLowerCase();
  const listed = new Set([...fixed, ...request_headers.map((header) => header.toLowerCase())]);
  if (agentToken !== undefined && listed.has(agentToken)) {
    const message = `agents send their token in ${agentToken}, which no upstream gets. Remove it from headers and request_headers.`;
    faults.push({ upstream, path: ["agent_token", "header"], message });
  }
  for (const header of Object.keys(headers)) {
    if (!own.has(header.toLowerCase())) continue;
    const message = `the credential is sent in ${header}. Remove it here.`;
    faults.push({ upstream, path: ["headers", header], message });
  }
  for (const [index, header] of request_headers.entries()) {
    const path = ["request_headers", index];
    if (own.has(header.toLowerCase())) {
      faults.push({ upstream, path, message: `the credential is sent in ${header}, so agents cannot send it.` });
    }
    if (fixed.has(header.toLowerCase())) {
      faults.push({
        upstream,
        path,
        message: `headers sets ${header}, so agents cannot send it. Remove one of the two.`,
      });
    }
  }
  return faults;
}

/** The names of the headers that carry a credential beside `Authorization`, in lower case. */
function credentialHeaders(credential: CredentialScheme | undefined): ReadonlySet<string> {
  const names =
    credential?.scheme === "header"
      ? [credential.name]
      : credential?.scheme === "headers"
        ? Object.keys(credential.headers)
        : [];
  return new Set(names.map((name) => name.toLowerCase()));
}

/**
 * Every rule of an operator that cannot be read, or, if all can, every one that a request could match beside another rule, or that could
 * match what the service refuses.
 *
 * @param own the operator's rules. They stand at the end of the service's.
 */
function ruleFaults(
  definition: ServiceDefinition,
  service: Service,
  catalogue: Catalogue,
  own: readonly string[],
): UpstreamFault[] {
  const fault = (index: number, message: string): UpstreamFault => ({
    upstream: definition.name,
    path: ["rules", index],
    message,
  });
  let rules: readonly Rule[];
  try {
    ({ rules } = service.table());
  } catch {
    return own.flatMap((rule, index) => {
      const message = compileFault({ ...definition, rules: [rule] }, catalogue);
      return message === undefined ? [] : [fault(index, `${message}.`)];
    });
  }
  const meeting = overlaps(rules).map(([earlier, rule]) =>
    fault(
      own.lastIndexOf(rule.source),
      `the rules "${earlier.source}" and "${rule.source}" overlap: a request could match both. Give one parameter a type or a choice.`,
    ),
  );
  const refused = overlaps([...refusedRules(definition), ...rules]).flatMap(([never, rule]) =>
    definition.refused?.includes(never.source) && own.includes(rule.source)
      ? [
          fault(
            own.lastIndexOf(rule.source),
            `the rule "${rule.source}" could match "${never.source}", which no rule of ${definition.name} may. Write words in place of parameters, or give them a choice.`,
          ),
        ]
      : [],
  );
  return [...meeting, ...refused];
}

/**
 * Everything that is wrong with what an operator says about limits. The rules have no faults.
 *
 * @param builtIn what a built-in service says itself, of rules that were reviewed: an operator adds rules to it, and no more.
 */
function faultsOfLimits(
  service: Service,
  own: Readonly<Record<string, LimitDefinition>> = {},
  builtIn: Readonly<Record<string, LimitDefinition>> = {},
): UpstreamFault[] {
  const entries = Object.entries(own);
  if (entries.length === 0) return [];
  const { rules } = service.table();
  const reviewed = new Set(BUILT_IN_SERVICES.find(({ name }) => name === service.name)?.rules);
  return entries.flatMap(([field, definition]) => {
    const { alone = [], also = {} } = definition;
    const isReviewed = Object.hasOwn(builtIn, field);
    const changed = (["without", "ignoresCase", "isPath", "closedList"] as const).filter((key) => key in definition);
    const line = [...alone, ...Object.keys(also)].find((one) => reviewed.has(one));
    const faults = limitFaults(field, definition, rules).map(({ path, message }) => ({ path, message: `${message}.` }));
    if (isReviewed && changed.length > 0) {
      faults.push({
        path: [],
        message: `is a field of ${service.name} itself: only alone and also can be added to it.`,
      });
    }
    if (isReviewed && line !== undefined) {
      const message = `"${line}" is a rule of ${service.name} itself, which says what names its objects.`;
      faults.push({ path: [], message });
    }
    return faults.map(({ path, message }) => ({
      upstream: service.name,
      path: ["limits", field, ...path],
      message,
    }));
  });
}

/** Every description of an operation that no rule has, and what is wrong with the others. The rules have no faults. */
function faultsOfOperations({ name: upstream, definition, table }: Service): UpstreamFault[] {
  const { operations = {} } = definition;
  const known = new Set(
    Object.keys(operations).length === 0
      ? []
      : table().rules.flatMap(({ source, methods }) => methods.map((method) => `${method} ${source.split(/\s+/)[1]}`)),
  );
  const names = new Map<string, string>();
  return Object.entries(operations).flatMap(([key, { name, query = {}, required = [] }]) => {
    const fault = (path: readonly PropertyKey[], message: string): UpstreamFault => ({
      upstream,
      path: ["operations", key, ...path],
      message,
    });
    const faults: UpstreamFault[] = [];
    if (!known.has(key)) {
      faults.push(
        fault([], 'is of no rule. Write METHOD /path, the path exactly as the rule has it: "GET /orders/{id:int}".'),
      );
    }
    const missing = required.findIndex((one) => !Object.hasOwn(query, one));
    if (missing !== -1) faults.push(fault(["required", missing], `is not a parameter of query.`));
    if (name !== undefined && names.has(name)) faults.push(fault(["name"], `is the name of ${names.get(name)} too.`));
    if (name !== undefined) names.set(name, key);
    return faults;
  });
}

function compileFault(definition: ServiceDefinition, catalogue: Catalogue): string | undefined {
  try {
    compileTable(definition, catalogue);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function createService(
  definition: ServiceDefinition,
  settings: UpstreamSettings | undefined,
  catalogue: Catalogue,
): Service {
  const baseUrl = settings?.base_url ?? definition.baseUrl;
  const base = baseUrl === undefined ? null : new URL(baseUrl);
  const basePath = base?.pathname.replace(/\/$/, "") ?? "";
  const prefix = definition.pathPrefix;
  const { responseHeaders = [], bodyLinks = [], removedLinks = [] } = definition;
  const credential = withInstanceDomain(settings?.credential ?? definition.credential, definition.credential);
  const more = settings?.response_headers?.map((name) => name.toLowerCase()) ?? [];
  let table: RuleTable | undefined;
  return {
    name: definition.name,
    origin: base?.origin ?? null,
    // The base URL may end in the prefix that every path gets: it is not added twice.
    basePath: prefix && basePath.endsWith(prefix) ? basePath.slice(0, -prefix.length) : basePath,
    credential,
    definition: {
      ...definition,
      responseHeaders: [...responseHeaders, ...more],
      bodyLinks: settings?.body_links ?? bodyLinks,
      removedLinks: settings?.removed_links ?? removedLinks,
    },
    timeoutMs: settings?.timeout_ms ?? DEFAULT_TIMEOUT_MS,
    idleTimeoutMs: settings?.idle_timeout_ms ?? DEFAULT_IDLE_TIMEOUT_MS,
    // Most isolates serve few of the services: a table is compiled for its first request.
    table: () => (table ??= compileTable({ ...definition, credential }, catalogue)),
  };
}

/** A token that is requested by another grant than the service's own may be sent to the same hosts, and to no others. */
function withInstanceDomain(credential: CredentialScheme, own: CredentialScheme): CredentialScheme {
  if (!("tokenUrl" in credential) || !("tokenUrl" in own) || own.instanceDomain === undefined) return credential;
  return { ...credential, instanceDomain: own.instanceDomain };
}
