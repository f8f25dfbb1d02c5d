import type { Caller } from "../access/authenticate.ts";
import { badRequest } from "../http/errors.ts";
import type { Config } from "../config/config.ts";
import { hasEnded, type GrantLimits } from "../permissions/grant.ts";
import { isGranted } from "../permissions/match.ts";
import { inputSchema } from "./arguments.ts";
import { OWN_TOOLS, SEARCH_TOOLS, type OwnTool } from "./own-tools.ts";
import { isRead, operationsOf, type Operation } from "./operations.ts";
import type { Tool } from "./tool.ts";

/** More tools than this cost a model more than two that search and call. */
const MAX_LISTED = 40;

const RESERVED: ReadonlySet<string> = new Set([...OWN_TOOLS, ...SEARCH_TOOLS].map(({ tool }) => tool.name));

/** What the URL of a client narrows its tools to; undefined for what it does not narrow. */
export interface Selection {
  readonly services: ReadonlySet<string> | undefined;
  /** `service:resource`. */
  readonly toolsets: ReadonlySet<string> | undefined;
}

const EVERYTHING: Selection = { services: undefined, toolsets: undefined };

/**
 * Reads `?tools=github,slack` and `?toolset=github:issues`. Other parameters mean nothing here, as the standard says.
 *
 * @throws {ApiError} 400 for a service or a resource that does not exist: the client would have fewer tools than it believes.
 */
export function readSelection(url: string, { services, catalogue }: Pick<Config, "services" | "catalogue">): Selection {
  const mark = url.indexOf("?");
  if (mark === -1) return EVERYTHING;
  const query = new URLSearchParams(url.slice(mark));
  const list = (name: string, isKnown: (one: string) => boolean): ReadonlySet<string> | undefined => {
    const values = query.getAll(name).flatMap((text) => text.split(","));
    const unknown = values.find((one) => !isKnown(one));
    if (unknown !== undefined) {
      const message = `names ${JSON.stringify(unknown.slice(0, 100))}, which does not exist. GET /permissions/list names all.`;
      throw badRequest(`The query is not valid. ${name} ${message}`, [{ field: name, message }]);
    }
    return query.has(name) ? new Set(values) : undefined;
  };
  return {
    services: list("tools", (one) => services.has(one)),
    toolsets: list("toolset", (one) => {
      const [service = "", resource = "", ...rest] = one.split(":");
      const resources = Object.hasOwn(catalogue, service) ? catalogue[service]! : {};
      return rest.length === 0 && Object.hasOwn(resources, resource);
    }),
  };
}

/** Returns the operation with this name, if there is one within the selection, whoever asks. */
export function findOperation({ services }: Config, selection: Selection, name: string): Operation | undefined {
  const operation = operationsOf(services, RESERVED).get(name);
  return operation && isSelected(operation, selection) ? operation : undefined;
}

function isSelected({ service, rule }: Operation, { services, toolsets }: Selection): boolean {
  if (services && !services.has(service.name)) return false;
  if (!toolsets) return true;
  return rule.required.some((permission) => toolsets.has(permission.slice(0, permission.lastIndexOf(":"))));
}

/**
 * Returns the operations that a caller reaches, in the order of their names. A permission that is limited reaches its operations: which
 * requests of them it allows depends on the arguments.
 */
export function reachableOperations(
  { services, catalogue }: Config,
  { tokenGrants, agentGrants }: Pick<Caller, "tokenGrants" | "agentGrants">,
  selection: Selection,
  now: number,
): Operation[] {
  const sides = [tokenGrants, ...agentGrants].map((grants) => permissionsOf(grants, now));
  const isReached = (permission: string): boolean => sides.every((side) => isGranted(side, permission, catalogue));
  const answers = new Map<string, boolean>();
  return [...operationsOf(services, RESERVED).values()].filter(
    (one) =>
      isSelected(one, selection) &&
      one.rule.required.every((permission) => {
        let answer = answers.get(permission);
        if (answer === undefined) answers.set(permission, (answer = isReached(permission)));
        return answer;
      }),
  );
}

/** The permissions that these grants give now, with or without limits. */
export const permissionsOf = (grants: readonly GrantLimits[], now: number): ReadonlySet<string> =>
  new Set(grants.filter((grant) => !hasEnded(grant, now)).map(({ permission }) => permission));

/**
 * Returns the tools of a caller: one for each operation that it reaches, or, if these are more than {@link MAX_LISTED}, one to search them
 * and one to call them.
 *
 * @param ownTools the tools of this server's own that the caller has.
 */
export function toolsOf(operations: readonly Operation[], ownTools: readonly OwnTool[]): Tool[] {
  const isLong = operations.length > MAX_LISTED;
  const own = isLong ? [...SEARCH_TOOLS, ...ownTools] : ownTools;
  return [...own.map(({ tool }) => tool), ...(isLong ? [] : operations.map(toTool))];
}

/** Returns an operation as a tool. The description is made from the rule, or is the operator's own: no sentence of a vendor is in it. */
export function toTool(operation: Operation): Tool {
  const { name, service, method, path, rule, words, described, isAddition } = operation;
  const readOnly = isRead(operation);
  const what = described.description ?? `${words[0]!.toUpperCase()}${words.slice(1)}`;
  return {
    name,
    description: `${what.replace(/\.$/, "")}: ${method} ${path} of ${service.name} (${rule.required.join(" and ")}).`,
    inputSchema: inputSchema(operation),
    annotations: {
      readOnlyHint: readOnly,
      // What only adds to a collection destroys nothing. Of other writes it is not known.
      ...(!readOnly && { destructiveHint: !isAddition, idempotentHint: method === "PUT" || method === "DELETE" }),
      openWorldHint: true,
    },
  };
}
