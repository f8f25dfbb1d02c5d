import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fail, ROOT } from "./local.ts";

/**
 * Writes the SDK's types, src/client/wire.ts, from the API's description, public/openapi.json. With `--check` it writes
 * nothing, and ends with an error if the file is not what the description says.
 */

/** The public name of each operation's body, query and response. An operation without an entry here ends the command. */
const OPERATIONS: Readonly<Record<string, { body?: string; query?: string; response?: string }>> = {
  "POST /agents/register": { body: "RegisterAgentRequest", response: "RegisterAgentResponse" },
  "POST /agents/verify": { body: "VerifyAgentRequest", response: "VerifyAgentResponse" },
  "POST /agents/refresh": { body: "RefreshTokenRequest", response: "RefreshTokenResponse" },
  "POST /agents/revoke-tokens": { response: "RevokeTokensResponse" },
  "GET /agents": { query: "ListAgentsQuery", response: "AgentListResponse" },
  "GET /agents/{id}": { response: "AgentResponse" },
  "PATCH /agents/{id}": { body: "UpdateAgentRequest", response: "UpdateAgentResponse" },
  "DELETE /agents/{id}": { response: "DoneResponse" },
  "POST /agents/{id}/revoke": { body: "RevokeAgentRequest", response: "AgentChangeResponse" },
  "PUT /agents/{id}/status": { body: "UpdateAgentStatusRequest", response: "AgentChangeResponse" },
  "PUT /agents/{id}/tier": { body: "UpdateAgentTierRequest", response: "AgentChangeResponse" },
  "PUT /agents/{id}/permissions": { body: "UpdateAgentPermissionsRequest", response: "AgentChangeResponse" },
  "GET /agents/{id}/grants": { response: "GrantListResponse" },
  "PUT /agents/{id}/grants": { body: "SetGrantsRequest", response: "SetGrantsResponse" },
  "GET /keys": { query: "ListEndingKeysQuery", response: "EndingKeyListResponse" },
  "GET /agents/{id}/keys": { query: "ListKeysQuery", response: "KeyListResponse" },
  "POST /agents/{id}/keys": { body: "CreateKeyRequest", response: "CreateKeyResponse" },
  "DELETE /agents/{id}/keys/{key_id}": { body: "DeleteKeyRequest", response: "DoneResponse" },
  "GET /agents/{id}/sessions": { query: "ListSessionsQuery", response: "SessionListResponse" },
  "DELETE /agents/{id}/sessions/{session_id}": { response: "DoneResponse" },
  "POST /agents/{id}/revoke-tokens": { response: "RevokeTokensResponse" },
  "POST /agents/bulk-revoke": { body: "BulkRevokeRequest", response: "BulkRevokeResponse" },
  "POST /agents/{id}/rotate-key": { body: "RotateKeyRequest", response: "RotateKeyResponse" },
  "GET /agents/{id}/activity": { query: "ActivityQuery", response: "ActivityResponse" },
  "GET /audit": { query: "AuditQuery", response: "AuditResponse" },
  "GET /audit/counts": { query: "AuditCountsQuery", response: "AuditCountsResponse" },
  "GET /audit/{id}": { response: "AuditRecordResponse" },
  "GET /activity": { query: "AllActivityQuery", response: "AllActivityResponse" },
  "POST /webhooks": { body: "RegisterWebhookRequest", response: "NewWebhookResponse" },
  "GET /webhooks": { query: "ListWebhooksQuery", response: "WebhookListResponse" },
  "GET /webhooks/events": { response: "WebhookEventsResponse" },
  "GET /webhooks/{id}": { response: "WebhookResponse" },
  "PUT /webhooks/{id}": { body: "UpdateWebhookRequest", response: "WebhookResponse" },
  "DELETE /webhooks/{id}": { response: "DoneResponse" },
  "POST /webhooks/{id}/regenerate-secret": { body: "RegenerateSecretRequest", response: "NewWebhookResponse" },
  "GET /webhooks/{id}/deliveries": { query: "DeliveriesQuery", response: "DeliveryListResponse" },
  "GET /webhooks/{id}/deliveries/{delivery_id}": { response: "DeliveryHistoryResponse" },
  "POST /webhooks/{id}/deliveries/{delivery_id}/redeliver": { response: "DeliveryResponse" },
  "POST /webhooks/{id}/test": { response: "DeliveryResponse" },
  "GET /deliveries": { query: "AllDeliveriesQuery", response: "AllDeliveriesResponse" },
  "POST /deliveries/redeliver": { body: "RedeliverAllRequest", response: "RedeliverAllResponse" },
  "GET /permissions/list": { response: "PermissionListResponse" },
  "GET /settings": { response: "SettingsResponse" },
  "GET /services": { response: "ServiceListResponse" },
  "GET /services/{name}": { response: "ServiceResponse" },
  "POST /services/{name}/check": { response: "ServiceCheckResponse" },
  "POST /proxy/_explain": { body: "ExplainRequest", response: "ExplainResponse" },
  "GET /audit/export": { query: "ExportAuditQuery" },
  "GET /health": { response: "HealthResponse" },
  "GET /health/details": { query: "HealthDetailsQuery", response: "HealthDetailsResponse" },
  // Only the verifier reads it, with types from jose.
  // The SDK has no types for documents that standards define.
  "GET /metrics": {},
  "GET /.well-known/jwks.json": {},
  "GET /.well-known/oauth-authorization-server": {},
  "GET /.well-known/oauth-protected-resource": {},
  "GET /.well-known/oauth-protected-resource/proxy/{service}": {},
  "GET /.well-known/oauth-protected-resource/mcp": {},
  "GET /oauth/authorize": {},
  "POST /oauth/device_authorization": {},
  "POST /oauth/token": {},
  "POST /oauth/introspect": {},
  "POST /oauth/revoke": {},
};

/**
 * Parts of the types above that have a public name of their own, and where each is found: `[]` is an entry of a list, `{}` of a
 * record, `?` what may be null. Equal schemas share the name.
 */
const PARTS: Readonly<Record<string, string>> = {
  Agent: "AgentResponse.agent",
  AgentStatus: "AgentResponse.agent.status",
  Tier: "AgentResponse.agent.tier",
  AgentDetails: "AgentResponse.details",
  Actor: "AgentResponse.details.created_by?",
  Key: "CreateKeyResponse.key",
  Session: "SessionListResponse.sessions[]",
  Grant: "GrantListResponse.grants[]",
  GrantConditions: "GrantListResponse.grants[].where{}",
  Credentials: "RegisterAgentResponse.credentials",
  Token: "VerifyAgentResponse.token",
  Activity: "ActivityResponse.activity[]",
  AuditRecord: "AuditRecordResponse.record",
  AuditAction: "AuditRecordResponse.record.action",
  AuditOutcome: "AuditRecordResponse.record.outcome",
  Pagination: "ActivityResponse.pagination",
  EventName: "WebhookEventsResponse.events[]",
  Webhook: "WebhookResponse.webhook",
  WebhookSummary: "WebhookListResponse.details{}",
  Delivery: "DeliveryResponse.delivery",
  DeliveryAttempt: "DeliveryHistoryResponse.attempts[]",
  Service: "ServiceResponse.service",
  DeliveryStatus: "DeliveryResponse.delivery.status",
  DeliveryEvent: "RedeliverAllRequest.filter.event",
};

/** Strings that the SDK knows more about than the description does. */
const PERMISSIONS: ReadonlySet<string> = new Set([
  "AgentResponse.agent.permissions[]",
  "RegisterAgentRequest.permissions[]",
  "UpdateAgentPermissionsRequest.permissions[]",
  "UpdateAgentRequest.grantable[]",
  "GrantListResponse.grants[].permission",
  "SetGrantsRequest.grants[].permission",
  "grant.expiring.permission",
  "ExplainRequest.permissions[]",
  "agent.permissions_updated.permissions[]",
]);

interface Schema {
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly format?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly description?: string;
  readonly default?: unknown;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minimum?: number;
  readonly maximum?: number;
}

type Content = Readonly<Record<string, { schema: Schema }>>;

interface Operation {
  readonly operationId?: string;
  readonly summary: string;
  readonly parameters?: readonly { name: string; in: string; required: boolean; schema: Schema }[];
  readonly requestBody?: { content: Content };
  readonly responses: Readonly<Record<string, { content?: Content }>>;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly webhooks: Readonly<Record<string, { post: Operation }>>;
}

/** A schema with its public name, what is said of it, and whether a client sends it or receives it. */
interface Named {
  readonly name: string;
  readonly schema: Schema;
  readonly doc: string;
  readonly isRequest: boolean;
}

const SOURCE = "public/openapi.json";
const TARGET = "src/client/wire.ts";
const MAX_LINE_LENGTH = 120;

const document = JSON.parse(readFileSync(join(ROOT, SOURCE), "utf8")) as Document;
const jsonSchema = (content: Content | undefined): Schema | undefined => content?.["application/json"]?.schema;

const operations = operationTypes();
const parts = partTypes();
const usedPermissions = new Set<string>();

/** The names of parts by their schema, so that the same part has the same name wherever it occurs. */
const partNames = new Map(parts.map(({ name, schema }) => [JSON.stringify(schema), name]));

function operationTypes(): Named[] {
  const types = new Map<string, Named & { readonly uses: string[] }>();
  const known = new Set<string>();
  for (const [path, item] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      if (!operation.operationId || path === "/proxy/{service}/{path}") continue;
      const key = `${method.toUpperCase()} ${path}`;
      // People call these, in a browser: they are not for the SDK of agents.
      if (/^\/(?:people|sign-)/.test(path)) continue;
      const names = OPERATIONS[key];
      if (!names) fail(`${key} has no entry in OPERATIONS of scripts/wire.ts. Say there what its types are called.`);
      known.add(key);
      const success = Object.keys(operation.responses).find((status) => status.startsWith("2"))!;
      const found = [
        [names.body, jsonSchema(operation.requestBody?.content), "body"],
        [names.query, querySchema(operation), "query"],
        [names.response, jsonSchema(operation.responses[success]?.content), "response"],
      ] as const;
      for (const [name, schema, part] of found) {
        if (!schema && name) fail(`${key} has no ${part}, and OPERATIONS of scripts/wire.ts names one: ${name}.`);
        if (schema && !name && Object.keys(names).length > 0) {
          fail(`${key} has a ${part}, and OPERATIONS of scripts/wire.ts gives it no name.`);
        }
        if (!schema || !name) continue;
        const before = types.get(name);
        if (before && JSON.stringify(before.schema) !== JSON.stringify(schema)) {
          fail(`${name} is the name of two different schemas: of ${before.uses[0]} and of ${key}.`);
        }
        const uses = [...(before?.uses ?? []), `\`${key}\``];
        types.set(name, {
          name,
          schema,
          uses,
          doc: `The ${part} of ${uses.join(", ")}.`,
          isRequest: part !== "response",
        });
      }
    }
  }
  const gone = Object.keys(OPERATIONS).filter((key) => !known.has(key));
  if (gone.length > 0) fail(`${gone.join(", ")} is not in ${SOURCE}. Remove it from OPERATIONS in scripts/wire.ts.`);
  return [...types.values()];
}

function querySchema({ parameters = [] }: Operation): Schema | undefined {
  const query = parameters.filter((parameter) => parameter.in === "query");
  if (query.length === 0) return undefined;
  return {
    type: "object",
    properties: Object.fromEntries(query.map(({ name, schema }) => [name, schema])),
    required: query.filter(({ required }) => required).map(({ name }) => name),
  };
}

function partTypes(): Named[] {
  return Object.entries(PARTS).map(([name, place]) => {
    const [first, ...steps] = place.replaceAll(/\[\]|\{\}|\?/g, ".$&").split(".");
    let schema = operations.find((one) => one.name === first)?.schema;
    for (const step of steps) {
      if (step === "[]") schema = schema?.items;
      else if (step === "{}") schema = schema?.additionalProperties as Schema | undefined;
      else if (step === "?") schema = schema?.anyOf?.find((one) => one.type !== "null");
      else schema = schema?.properties?.[step];
    }
    if (!schema) fail(`${name} is not at ${place}. Correct PARTS of scripts/wire.ts.`);
    return { name, schema, doc: "", isRequest: false };
  });
}

/** What the schema's bounds and default say, after its description. */
function docOf(schema: Schema): string {
  const inner = schema.anyOf?.find((one) => one.type !== "null") ?? schema;
  const { minLength, maxLength, minItems, maxItems, minimum, maximum } = inner;
  const number = (value: number): string => value.toLocaleString("en");
  const range = (from: number | undefined, to: number | undefined, unit: string): string[] => {
    if (to === undefined) return [];
    return [from === undefined ? `At most ${number(to)}${unit}.` : `${number(from)} to ${number(to)}${unit}.`];
  };
  const { description = inner.description } = schema;
  return [
    ...(description ? [description] : []),
    ...range(minLength, maxLength, " characters"),
    ...range(minItems, maxItems, " entries"),
    ...range(minimum, maximum, ""),
    ...(typeof schema.default === "object" || schema.default === undefined
      ? []
      : [`The default is ${typeof schema.default === "number" ? number(schema.default) : String(schema.default)}.`]),
  ].join(" ");
}

const comment = (doc: string, indent: string): string => {
  if (!doc) return "";
  const line = `${indent}/** ${doc} */\n`;
  if (line.length <= MAX_LINE_LENGTH) return line;
  const lines = [""];
  for (const word of doc.split(" ")) {
    const last = lines.at(-1)!;
    if (`${indent} * ${last} ${word}`.length > MAX_LINE_LENGTH) lines.push(word);
    else lines[lines.length - 1] = last ? `${last} ${word}` : word;
  }
  return `${indent}/**\n${lines.map((one) => `${indent} * ${one}\n`).join("")}${indent} */\n`;
};

/** The TypeScript of a schema. `place` is its path below its public name, as in PARTS. */
function typeOf(schema: Schema, place: string, isRequest: boolean, isDeclaration = false, indent = ""): string {
  const part = partNames.get(JSON.stringify(schema));
  if (part && !isDeclaration) return part;
  if (PERMISSIONS.has(place)) {
    usedPermissions.add(place);
    return "Permission";
  }
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.anyOf) return schema.anyOf.map((one) => typeOf(one, place, isRequest, false, indent)).join(" | ");
  const types = [schema.type].flat();
  if (types.length > 1) {
    return types.map((type) => typeOf({ ...schema, type: type! }, place, isRequest, false, indent)).join(" | ");
  }
  switch (types[0]) {
    case "null":
    case "boolean":
      return types[0];
    case "integer":
    case "number":
      return "number";
    case "string":
      return schema.format === "date-time" ? "Timestamp" : "string";
    case "array": {
      const items = typeOf(schema.items!, `${place}[]`, isRequest, false, indent);
      return items.includes(" | ") ? `(${items})[]` : `${items}[]`;
    }
    case "object":
      if (!schema.properties) {
        const values = schema.additionalProperties as Schema;
        return `Record<string, ${typeOf(values, `${place}{}`, isRequest, false, indent)}>`;
      }
      return objectOf(schema, place, isRequest, indent);
    default:
      if (Object.keys(schema).length === 0) return "unknown";
      return fail(`scripts/wire.ts has no type for ${place}: ${JSON.stringify(schema)}`);
  }
}

/** With `exactOptionalPropertyTypes` a request may still name an optional property and leave it undefined. */
function objectOf({ properties = {}, required = [] }: Schema, place: string, isRequest: boolean, indent = ""): string {
  const inner = `${indent}  `;
  const members = Object.entries(properties).map(([name, schema]) => {
    const optional = !required.includes(name);
    const type = typeOf(schema, `${place}.${name}`, isRequest, false, inner);
    const undefinable = optional && isRequest ? " | undefined" : "";
    return `${comment(docOf(schema), inner)}${inner}${name}${optional ? "?" : ""}: ${type}${undefinable};\n`;
  });
  return `{\n${members.join("")}${indent}}`;
}

function declarationOf({ name, schema, doc, isRequest }: Named): string {
  const place = PARTS[name] ?? name;
  const type = typeOf(schema, place, isRequest, true);
  const head = comment(doc, "");
  if (schema.properties) return `${head}export interface ${name} ${type}`;
  const line = `${head}export type ${name} = ${type};`;
  return line.split("\n").every((one) => one.length <= MAX_LINE_LENGTH)
    ? line
    : `${head}export type ${name} =\n  | ${type.replaceAll(" | ", "\n  | ")};`;
}

function eventTypes(): string {
  const members = Object.entries(document.webhooks).map(([name, { post }]) => {
    const data = jsonSchema(post.requestBody?.content)?.properties?.data;
    if (!data) fail(`The webhook ${name} in ${SOURCE} does not say what its data is.`);
    return `${comment(`${post.summary}.`, "  ")}  ${JSON.stringify(name)}: ${objectOf(data, name, false, "  ")};\n`;
  });
  return `/** The \`data\` of a webhook event, by the event's name. */
export interface WebhookEventData {
${members.join("")}}

/**
 * The body of a webhook's delivery. Its \`event\` tells which \`data\` it has:
 * \`if (event.event === "agent.revoked") console.log(event.data.revoked_by);\`
 */
export type WebhookEvent<Name extends keyof WebhookEventData = keyof WebhookEventData> = {
  [Each in Name]: { id: string; event: Each; agent_id: string; timestamp: Timestamp; data: WebhookEventData[Each] };
}[Name];`;
}

const text = `// Written by \`npm run wire\` from ${SOURCE}. Do not edit it: change the schemas of the API and run the command again.
import type { Permission } from "./permissions.ts";

/** A time as RFC 3339 has it, in UTC, for example \`2026-11-23T10:00:00.000Z\`. */
export type Timestamp = string;

${[...parts, ...operations].map(declarationOf).join("\n\n")}

/** How long the previous key or secret stays valid. */
export type OverlapRequest = RotateKeyRequest | RegenerateSecretRequest;

${eventTypes()}
`;
const unused = [...PERMISSIONS].filter((place) => !usedPermissions.has(place));
if (unused.length > 0) fail(`${unused.join(", ")} is not in ${SOURCE}. Correct PERMISSIONS of scripts/wire.ts.`);

const file = join(ROOT, TARGET);
const present = existsSync(file) ? readFileSync(file, "utf8") : "";
if (!process.argv.includes("--check")) {
  writeFileSync(file, text);
  console.log(`${TARGET}: ${present === text ? "as it was" : "written"}`);
} else if (present !== text) {
  fail(`${TARGET} is not what ${SOURCE} says. Run \`npm run wire\` and commit what it writes.`);
} else {
  console.log(`${TARGET} is up to date.`);
}
