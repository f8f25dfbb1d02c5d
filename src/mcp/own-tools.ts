import * as z from "zod/mini";
import { listActivity } from "../audit/read.ts";
import { explain } from "../policy/explain.ts";
import { explainIssue } from "../validation/explain-issue.ts";
import { once } from "../validation/once.ts";
import type { Caller } from "../access/authenticate.ts";
import type { RequestContext } from "../http/request-context.ts";
import type { ArgumentFault } from "./arguments.ts";
import type { ObjectSchema, Tool } from "./tool.ts";

/** What a tool of this server's own is called with. */
interface OwnCall {
  readonly context: RequestContext;
  readonly caller: Caller;
  /** The tools of the operations that the caller reaches, in the order of their names. */
  readonly operations: () => readonly Tool[];
}

/** A tool that is no operation of a service. */
export interface OwnTool {
  readonly tool: Tool;
  /** It shows what is the agent's own: no other agent sees it by a delegated token. */
  readonly isOfAgent?: true;
  /** Returns its result, or what is wrong with the arguments. Undefined for the tool that calls an operation. */
  readonly call?: (
    call: OwnCall,
    args: unknown,
  ) => Promise<Readonly<Record<string, unknown>>> | Readonly<Record<string, unknown>> | readonly ArgumentFault[];
}

const READ_ONLY = { readOnlyHint: true, openWorldHint: false } as const;

/** Declares a tool whose arguments are parsed by a schema. */
function ownTool<Args extends z.ZodMiniType>(
  {
    name,
    description,
    properties,
    required = [],
  }: { name: string; description: string; properties: Readonly<Record<string, unknown>>; required?: readonly string[] },
  schema: () => Args,
  call: (
    call: OwnCall,
    args: z.output<Args>,
  ) => Promise<Readonly<Record<string, unknown>>> | Readonly<Record<string, unknown>>,
): OwnTool {
  const inputSchema: ObjectSchema = {
    type: "object",
    properties,
    ...(required.length > 0 && { required }),
    additionalProperties: false,
  };
  const schemaOnce = once(schema);
  return {
    tool: { name, description, inputSchema, annotations: READ_ONLY },
    call(own, args) {
      const parsed = schemaOnce().safeParse(args ?? {}, { error: explainIssue });
      if (parsed.success) return call(own, parsed.data);
      return parsed.error.issues.slice(0, 20).map((issue) => ({
        field: issue.path.join(".").slice(0, 100) || "arguments",
        message:
          issue.code === "unrecognized_keys"
            ? `has unknown keys: ${issue.keys.join(", ").slice(0, 200)}`
            : issue.message,
      }));
    },
  };
}

const text = (description: string) => ({ type: "string", description });
const limitOf = (most: number) => ({ type: "integer", minimum: 1, maximum: most });
const whole = (most: number) => z.number().check(z.int(), z.minimum(1), z.maximum(most));

export const OWN_TOOLS: readonly OwnTool[] = [
  ownTool(
    {
      name: "explain",
      description:
        "What the gateway would do with a request of yours, which permission it needs, and which limits of your grants it would not meet. " +
        "Nothing is sent.",
      properties: {
        service: text("For example github."),
        method: text("For example GET."),
        path: text("The path below the service's base URL, with its query."),
        body: {
          type: ["object", "array", "string"],
          description: "JSON, or a text whose Content-Type is among the headers.",
        },
        headers: { type: "object", additionalProperties: { type: "string" } },
      },
      required: ["service", "method", "path"],
    },
    () =>
      z.strictObject({
        service: z.string(),
        method: z.string(),
        path: z.string(),
        body: z.optional(z.union([z.string(), z.array(z.unknown()), z.record(z.string(), z.unknown())])),
        headers: z.optional(z.record(z.string(), z.string())),
      }),
    ({ context, caller }, { body, headers, ...request }) => {
      const isJson = typeof body === "object";
      const hasType = Object.keys(headers ?? {}).some((name) => name.toLowerCase() === "content-type");
      const { explanation, reasons } = explain(
        context.config,
        {
          ...request,
          holdings: caller,
          body: isJson ? JSON.stringify(body) : body,
          // As a call of a tool sends it.
          headers: isJson && !hasType ? { ...headers, "content-type": "application/json" } : headers,
        },
        context.now,
      );
      return { ...explanation, ...reasons };
    },
  ),
  {
    ...ownTool(
      {
        name: "my_activity",
        description: "What this agent did, the newest first.",
        properties: { limit: limitOf(100), cursor: text("The next_cursor of the previous page.") },
      },
      () =>
        z.strictObject({
          limit: z.optional(whole(100)),
          cursor: z.optional(
            z.string().check(z.regex(/^act_[0-9a-f]{32}$/, { error: "must be a next_cursor of this list" })),
          ),
        }),
      async ({ context, caller }, { limit = 20, cursor }) => {
        const found = await listActivity(context.env, { limit, offset: 0, agentId: caller.agent.id, before: cursor });
        const rows = found.activities.slice(0, limit);
        return {
          activity: rows.map(({ id, at, status, message }) => ({
            id,
            timestamp: new Date(at).toISOString(),
            status,
            message,
          })),
          next_cursor: found.activities.length > limit ? rows.at(-1)!.id : null,
        };
      },
    ),
    isOfAgent: true,
  },
];

/** The tools of this server's own that a caller has. */
export const ownToolsOf = ({ claims }: Pick<Caller, "claims">): readonly OwnTool[] =>
  claims.delegation ? OWN_TOOLS.filter(({ isOfAgent }) => !isOfAgent) : OWN_TOOLS;

const PAGE = 10;

/** In the place of the operations' own tools, where there are too many of them. */
export const SEARCH_TOOLS: readonly OwnTool[] = [
  ownTool(
    {
      name: "search_operations",
      description:
        "Finds operations that you may call, by words such as the service, the thing and the verb. Returns what call_operation takes.",
      properties: {
        query: text("For example: github create issue. Empty for all."),
        limit: limitOf(25),
        cursor: text("The next_cursor of the previous page."),
      },
      required: ["query"],
    },
    () =>
      z.strictObject({
        query: z.string().check(z.maxLength(200)),
        limit: z.optional(whole(25)),
        cursor: z.optional(z.string().check(z.regex(/^\d{1,6}$/, { error: "must be a next_cursor of this search" }))),
      }),
    ({ operations }, { query, limit = PAGE, cursor = "0" }) => {
      const found = search(operations(), query);
      const end = Number(cursor) + limit;
      return {
        operations: found
          .slice(Number(cursor), end)
          .map(({ name, description, inputSchema }) => ({ name, description, arguments: inputSchema })),
        total: found.length,
        next_cursor: end < found.length ? String(end) : null,
      };
    },
  ),
  {
    tool: {
      name: "call_operation",
      description: "Calls an operation that search_operations found.",
      inputSchema: {
        type: "object",
        properties: {
          name: text("The operation's name."),
          arguments: { type: "object", description: "What the operation's own schema says." },
        },
        required: ["name"],
        additionalProperties: false,
      },
      // What it does depends on the operation.
      annotations: { readOnlyHint: false, destructiveHint: true, openWorldHint: true },
    },
  },
];

export const CALL_OPERATION = "call_operation";

/** The tools that have words of the query in their names or descriptions: those with the most first, and then by name. */
function search(tools: readonly Tool[], query: string): readonly Tool[] {
  const words = query
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter(Boolean);
  if (words.length === 0) return tools;
  return tools
    .map((tool) => {
      const within = `${tool.name} ${tool.description}`.toLowerCase();
      return { tool, hits: words.filter((word) => within.includes(word)).length };
    })
    .filter(({ hits }) => hits > 0)
    .toSorted((one, other) => other.hits - one.hits)
    .map(({ tool }) => tool);
}
