import * as z from "zod/mini";
import { METHODS } from "../policy/rule.ts";
import type { Auth, Route } from "../access/route.ts";
import { ERRORS, type ErrorCode } from "../http/errors.ts";

/** The parts of the reference that the routes do not contain. */
export interface About {
  readonly version: string;
  /** By the name of a webhook event: when it is sent, and the schema of its `data`. */
  readonly events: Readonly<Record<string, { summary: string; data: z.ZodMiniType }>>;
}

type Json = Record<string, unknown>;

const TAGS: Readonly<Record<string, string>> = {
  agents: "Registering and managing agents.",
  tokens: "Proving an agent's identity, renewing and ending its sessions.",
  oauth: "The same as an OAuth authorization server.",
  gateway: "Calling the real APIs through AgentAuth.",
  activity: "What agents did.",
  webhooks: "Receiving events.",
  permissions: "The permissions that can be granted.",
  service: "The service itself.",
};

type ErrorStatus = (typeof ERRORS)[ErrorCode]["status"];

const STATUS_DESCRIPTIONS: Readonly<Record<ErrorStatus, string>> = {
  400: "The body, the query, the path or the host is not valid; details names each fault.",
  401: "The request has no access token, or one that is not valid or was revoked.",
  403: "The caller may not do this; required and granted say which permission is missing.",
  404: "The object does not exist, or it belongs to another agent.",
  405: "The path does not support this method; Allow lists those that it does.",
  408: "The body did not arrive in time.",
  409: "The state of the object does not allow this.",
  413: "The body is larger than 64 KB.",
  415: "The body is not JSON.",
  421: "Local development only: the request is for another host, or from a page of another origin.",
  422: "The Idempotency-Key was used for another request.",
  429: "A rate limit is reached; Retry-After says how many seconds to wait.",
  500: "AgentAuth failed; request_id finds the cause in the log.",
  502: "The upstream could not be reached, or ended its answer early.",
  503: "A part that the decision depends on does not answer.",
  504: "The upstream did not answer in time.",
};

/** The codes of the errors with a status, in the order of their list. */
const codesOf = (status: ErrorStatus): string[] =>
  Object.entries(ERRORS).flatMap(([code, error]) => (error.status === status ? [code] : []));

const ERROR: Json = {
  type: "object",
  required: ["error", "title", "message", "status", "code", "request_id"],
  properties: {
    error: {
      type: "string",
      description:
        "The message, for clients that show one field. If the title is `Invalid credentials`, `Insufficient permissions` or `Rate limit exceeded`, it is the title.",
    },
    title: { type: "string", description: "The stable title of the code." },
    message: { type: "string", description: "What happened, and what to do about it." },
    status: { type: "integer" },
    code: { type: "string", description: "A stable code for programs." },
    request_id: { type: "string" },
    details: {
      type: "array",
      items: {
        type: "object",
        required: ["message"],
        properties: { field: { type: "string" }, permission: { type: "string" }, message: { type: "string" } },
      },
    },
    required: { type: "string", description: "The permission that the request needs." },
    granted: { type: "array", items: { type: "string" } },
    violations: {
      type: "array",
      description: "The fields of a proxied request that are outside the limits of a grant.",
      items: {
        type: "object",
        required: ["field", "constraint", "actual"],
        properties: {
          field: { type: "string" },
          constraint: { type: "object" },
          actual: { type: ["string", "number", "boolean", "null"] },
        },
      },
    },
    tier: { type: ["string", "null"] },
    limit: { type: "integer" },
    retry_after: { type: "integer", description: "Seconds." },
    upstream: { type: "string" },
  },
};

/** The OpenAPI 3.1 description of the service, made from the routes and their schemas. */
export function openApiDocument(routes: readonly Route[], { version, events }: About): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) (paths[route.path] ??= {})[route.method.toLowerCase()] = operation(route);
  paths["/proxy/{service}/{path}"] = gateway();
  return {
    openapi: "3.1.0",
    info: {
      title: "AgentAuth",
      version,
      description:
        "Identity for AI agents, and a gateway that checks each of their requests. All bodies are JSON, all times are ISO 8601 in UTC, and all errors have the same shape.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/", description: "This deployment" }],
    security: [{ accessToken: [] }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    webhooks: Object.fromEntries(Object.entries(events).map((event) => [event[0], { post: webhook(...event) }])),
    components: {
      securitySchemes: {
        accessToken: {
          type: "http",
          scheme: "bearer",
          bearerFormat: "JWT",
          description: "The access token that POST /agents/verify or POST /agents/refresh issues.",
        },
        session: {
          type: "apiKey",
          in: "cookie",
          name: "__Host-agentauth",
          description: "The session of a person who is signed in, in a browser.",
        },
      },
      schemas: { Error: ERROR },
      responses: {
        ...Object.fromEntries(
          Object.entries(STATUS_DESCRIPTIONS).map(([status, description]) => [
            `E${status}`,
            { description, content: { "application/json": { schema: errorSchema(Number(status) as ErrorStatus) } } },
          ]),
        ),
        OAuthError: {
          description: "The request is refused (RFC 6749 §5.2).",
          content: {
            "application/json": {
              schema: {
                type: "object",
                required: ["error", "error_description"],
                properties: {
                  error: { type: "string", description: "The code of the RFC." },
                  error_description: { type: "string", description: "What is wrong and what to do." },
                },
              },
            },
          },
        },
      },
    },
  };
}

const errorSchema = (status: ErrorStatus): Json => ({
  allOf: [{ $ref: "#/components/schemas/Error" }],
  properties: { status: { const: status }, code: { enum: codesOf(status) } },
});

function operation(route: Route): Json {
  const { auth, summary, response, status = 200, mediaTypes = ["application/json"] } = route;
  const [body, form, query] = [route.body?.(), route.form?.(), route.query?.()];
  const parameters = [
    ...pathParameters(route.path),
    ...(query ? queryParameters(query) : []),
    ...(route.idempotent ? [IDEMPOTENCY_KEY] : []),
  ];
  return {
    operationId: operationId(route),
    tags: [tagOf(route.path)],
    summary,
    description: AUTH_DESCRIPTIONS[auth],
    security: SECURITY[auth],
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: {
        required: !body.safeParse(undefined).success,
        content: { "application/json": { schema: schemaOf(body, "input") } },
      },
    }),
    ...(form && {
      requestBody: {
        required: true,
        // What a form does not declare is ignored.
        content: {
          "application/x-www-form-urlencoded": { schema: { ...schemaOf(form, "input"), additionalProperties: true } },
        },
      },
    }),
    responses: {
      [status]: {
        description: "Done.",
        content: Object.fromEntries(mediaTypes.map((type) => [type, { schema: schemaOf(response(), "output") }])),
      },
      ...(form ? formRefusals() : refusals(refusalsOf(route))),
    },
  };
}

/** The refusals of a form, in the shape of OAuth's errors. */
const formRefusals = (): Json =>
  Object.fromEntries(
    [400, 401, 403, 405, 429, 500, 503].map((status) => [status, { $ref: "#/components/responses/OAuthError" }]),
  );

const IDEMPOTENCY_KEY: Json = {
  name: "Idempotency-Key",
  in: "header",
  required: false,
  description:
    "A request with the same key, of the same caller, is carried out once and gets the same answer for 24 hours; its secrets for 10 minutes. Without an access token it must be a random UUID, or 32 or more random characters of base64url.",
  schema: { type: "string", minLength: 1, maxLength: 255, pattern: "^[!-~]+$" },
};

/** The delivery of one event (OpenAPI 3.1, `webhooks`). */
function webhook(name: string, { summary, data }: About["events"][string]): Json {
  const string = { type: "string" };
  const timestamp = { ...string, format: "date-time" };
  const properties = { id: string, event: { ...string, const: name }, agent_id: string, timestamp };
  const all = { ...properties, data: schemaOf(data, "output") };
  const schema = { type: "object", properties: all, required: Object.keys(all), additionalProperties: false };
  return {
    operationId: `webhook${operationName(name)}`,
    tags: ["webhooks"],
    summary,
    description: DELIVERY,
    // AgentAuth is the caller, and sends no access token.
    security: [],
    requestBody: { required: true, content: { "application/json": { schema } } },
    responses: {
      "2XX": { description: "The delivery is acknowledged." },
      "4XX": { description: "The delivery is tried again later; 410 disables the webhook." },
    },
  };
}

const DELIVERY =
  "AgentAuth sends this to the webhooks that are registered for it, signed as Standard Webhooks describes (webhook-id, webhook-timestamp, webhook-signature).";

const AUTH_DESCRIPTIONS: Readonly<Record<Auth, string>> = {
  none: "Anyone may call this.",
  client: "An agent calls this as an OAuth client, and authenticates itself with the request.",
  registration:
    "The deployment's REGISTRATION policy decides who may call this; the bootstrap token is sent as a bearer token.",
  bootstrap: "Only the holder of the bootstrap token may call this, which is sent as a bearer token.",
  bearer: "Any active agent may call this.",
  member: "Any active agent and any person may call this, and gets what it may see.",
  self: "The agent itself or an administrator (`*:*:*`) may call this.",
  admin: "Only an administrator (`*:*:*`) may call this.",
  own: "The agent that owns the object or an administrator (`*:*:*`) may call this.",
  person: "Only a person who is signed in may call this.",
  oneself: "Only the person themselves or a person who is an administrator may call this.",
  enrolling: "Only the person themselves may call this, also signed in by a link.",
  administrator: "Only a person who is an administrator may call this; an auditor may if it only reads.",
};

const BEARER = [{ accessToken: [] }];
const COOKIE = [{ session: [] }];
const EITHER = [...BEARER, ...COOKIE];
const SECURITY: Readonly<Record<Auth, Json[]>> = {
  none: [],
  client: [],
  registration: [{}, ...EITHER],
  bootstrap: BEARER,
  bearer: BEARER,
  member: EITHER,
  self: EITHER,
  admin: EITHER,
  own: EITHER,
  person: COOKIE,
  oneself: COOKIE,
  enrolling: COOKIE,
  administrator: COOKIE,
};

function refusalsOf({ auth, body, path, method, limited, idempotent }: Route): number[] {
  const known = auth !== "none" || limited !== undefined;
  return [
    400,
    ...(known ? [401] : []),
    ...(known && auth !== "none" && auth !== "bearer" && auth !== "own" ? [403] : []),
    ...(path.includes("{") || auth === "own" ? [404] : []),
    405,
    ...(body ? [408] : []),
    ...(idempotent || (path.startsWith("/agents/{") && method !== "GET" && method !== "DELETE") ? [409] : []),
    ...(body ? [413, 415] : []),
    421,
    ...(idempotent ? [422] : []),
    ...(known ? [429] : []),
    500,
    503,
  ];
}

const refusals = (statuses: readonly number[]): Json =>
  Object.fromEntries(statuses.map((status) => [status, { $ref: `#/components/responses/E${status}` }]));

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
}

function queryParameters(query: z.ZodMiniType): Json[] {
  const { required = [] } = schemaOf(query, "input") as { required?: string[] };
  // A parameter that is sent as text is described as the type that it is parsed to.
  const { properties = {} } = schemaOf(query, "output") as { properties?: Record<string, Json> };
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: "query",
    required: required.includes(name),
    schema,
  }));
}

/** Returns the JSON Schema without details that do not help a reader: the patterns of formats, and the bounds of safe integers. */
function schemaOf(schema: z.ZodMiniType, io: "input" | "output"): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io,
    unrepresentable: "any",
    override: ({ jsonSchema }) => {
      if (jsonSchema.format) delete jsonSchema.pattern;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      // What a request does not declare is refused, however its schema is written.
      if (io === "input" && jsonSchema.properties) jsonSchema.additionalProperties ??= false;
    },
  }) as Json;
  return rest;
}

function tagOf(path: string): string {
  if (/\/(verify|refresh|revoke-tokens|jwks\.json)$/.test(path)) return "tokens";
  if (/^\/(?:oauth|\.well-known\/oauth-[a-z-]+)(?:\/|$)/.test(path)) return "oauth";
  if (/^\/activity|\/activity$/.test(path)) return "activity";
  const first = path.split("/")[1] ?? "";
  if (first === "deliveries") return "webhooks";
  return first === "proxy" ? "gateway" : first in TAGS ? first : "service";
}

/** `postAgentsIdRotateKey`: unique because method and path are. */
function operationId({ method, path }: Route): string {
  return method.toLowerCase() + operationName(path);
}

function operationName(text: string): string {
  const words = text.split(/[^A-Za-z0-9]+/).filter(Boolean);
  return words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join("");
}

function gateway(): Json {
  const methods = [...METHODS].filter((method) => method !== "HEAD");
  return {
    parameters: [
      { name: "service", in: "path", required: true, schema: { type: "string" }, example: "github" },
      {
        name: "path",
        in: "path",
        required: true,
        description: "The upstream's own path, slashes included, with its own query.",
        schema: { type: "string" },
        example: "repos/octo/hello/issues/5",
      },
      {
        name: "X-AgentAuth-Links",
        in: "header",
        description:
          "What happens to the links in a JSON response: rewrite leads all through the gateway, keep leaves the response as the upstream wrote it. Without it, the service decides.",
        schema: { type: "string", enum: ["rewrite", "keep"] },
      },
    ],
    ...Object.fromEntries(
      methods.map((method) => [
        method.toLowerCase(),
        {
          operationId: `${method.toLowerCase()}Proxy`,
          tags: ["gateway"],
          summary: `${method} through the gateway, with the permission that exactly this request needs`,
          description:
            "Streams the upstream's response, with the header x-agentauth-upstream. Without that header, the response is the gateway's own.",
          ...(method !== "GET" && { requestBody: { content: { "*/*": { schema: {} } } } }),
          responses: {
            default: { description: "The upstream's response.", content: { "*/*": { schema: {} } } },
            ...refusals([400, 401, 403, 404, 421, 429, 502, 503, 504]),
          },
        },
      ]),
    ),
  };
}
