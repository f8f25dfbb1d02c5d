import { authenticate } from "../access/authenticate.ts";
import { markRecorded } from "../access/refusals.ts";
import { proxyWithin } from "../gateway/proxy.ts";
import type { Answer } from "../gateway/upstream/forward.ts";
import { toErrorResponse } from "../http/error-response.ts";
import { ApiError, forbidden } from "../http/errors.ts";
import type { RequestContext } from "../http/request-context.ts";
import { isGranted } from "../permissions/match.ts";
import type { OperationRequest } from "./arguments.ts";
import type { Operation } from "./operations.ts";
import { toToolResult, type ToolResult } from "./result.ts";
import { permissionsOf } from "./tools.ts";

/**
 * Calls an operation: makes the request that its arguments stand for, and gives it to the gateway, which judges, sends and records it like
 * any other request to `/proxy`.
 *
 * @throws {ApiError} 401, and 403 for a token that may not be used from this address or is narrower than its agent: with another token the
 *   call would succeed, so the client has to know. Every other refusal is a result that the model reads.
 */
export async function callOperation(
  context: RequestContext,
  operation: Operation,
  { target, body }: OperationRequest,
  allowsAnyJson: boolean,
): Promise<ToolResult> {
  const request = gatewayRequest(context.request, operation, target, body);
  let answer: Answer;
  try {
    answer = await proxyWithin({ ...context, request, sentRequest: context.request });
  } catch (error) {
    if (error instanceof ApiError) {
      if (error.status === 401 || error.code === "address_not_allowed") throw error;
      if (error.code === "insufficient_permissions") await refuseNarrowToken(context, operation, error);
    }
    answer = toErrorResponse(error, request, context.requestId, context);
  }
  return toToolResult(answer, request.url, allowsAnyJson);
}

/** The headers of a call. The client's other headers are about its own request. */
function gatewayRequest(
  { url, headers }: Request,
  { service, method }: Operation,
  target: string,
  body: string | undefined,
): Request {
  const intended = `${url.slice(0, url.indexOf("/", url.indexOf("://") + 3))}/proxy/${service.name}${target}`;
  const request = new Request(intended, {
    method,
    headers: {
      authorization: headers.get("authorization") ?? "",
      accept: "application/json, */*;q=0.5",
      ...(body !== undefined && { "content-type": "application/json" }),
    },
    ...(body !== undefined && { body }),
  });
  // The path and the query were checked as a text. A parser that repairs either would send another one.
  if (request.url !== intended) throw new Error("the URL of a call is not the one that was checked");
  return request;
}

/**
 * Refuses a call that the agent may make and its token may not, with all scopes that it needs
 * (https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#scope-challenge-handling).
 */
async function refuseNarrowToken(context: RequestContext, { rule }: Operation, error: ApiError): Promise<void> {
  const { config, now } = context;
  const { tokenGrants, agentGrants } = await authenticate(context, config.standingTtl * 1000);
  const { required, granted } = error.fields.extra ?? {};
  const scopes = [...new Set([...rule.required, ...(typeof required === "string" ? [required] : [])])];
  const isWithin = (grants: typeof tokenGrants): boolean => {
    const permissions = permissionsOf(grants, now);
    return scopes.every((scope) => isGranted(permissions, scope, config.catalogue));
  };
  if (isWithin(tokenGrants) || !agentGrants.every(isWithin)) return;
  const refusal = forbidden(
    "insufficient_permissions",
    `The access token has less than its agent, and this needs ${scopes.join(" and ")}. Get a token with that scope.`,
    { required: scopes.join(" "), granted },
  );
  // The gateway's denial is the record of it.
  throw markRecorded(refusal);
}
