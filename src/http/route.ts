import type * as z from "zod/mini";
import type { RequestContext } from "./request-context.ts";

export type Schema = z.ZodMiniType;
type Parsed<S> = S extends Schema ? z.output<S> : undefined;

/** The names of a path's parameters: `"id"` for `/agents/{id}`. */
type PathParameter<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? Name | PathParameter<Rest>
  : never;

/** What a handler returns for a response schema. It is serialized and never changed, so readonly arrays will do. */
type ResponseBody<S extends Schema> = DeepReadonly<z.input<S>>;
type DeepReadonly<T> = { readonly [K in keyof T]: DeepReadonly<T[K]> };

/**
 * What a handler receives: the request's context, who is calling, and the parsed parameters, query and body. Nothing of the
 * framework.
 *
 * @typeParam Access who is calling and what was checked about it; `access/` says what that is for each kind of route.
 */
export type Call<Access, Path extends string, Body = undefined, Query = undefined> = RequestContext &
  Access & {
    readonly params: Readonly<Record<PathParameter<Path>, string>>;
    readonly body: Body;
    readonly query: Query;
  };

/** One method of one path: who may call it, its parameters and body, its response, and its handler. */
export interface RouteDeclaration<
  Auth extends string,
  Access,
  Path extends string,
  Body extends Schema | undefined,
  Query extends Schema | undefined,
  Response extends Schema,
> {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Parameters are in braces: `/agents/{id}`. */
  readonly path: Path;
  readonly auth: Auth;
  /** One line for the reference. */
  readonly summary: string;
  /** `address` counts each request against its sender's address before anything else, for routes that strangers may call. */
  readonly limited?: "address";
  /** Schema of the JSON body, made with the first request (see `once`). Fields that it does not name are refused; a route without one refuses all. */
  readonly body?: () => Body;
  /**
   * For a route of the OAuth face: the parameters of its form, for the reference. It ignores what it does not know, its handler
   * authenticates the client itself, and its errors are those of RFC 6749 §5.2.
   */
  readonly form?: () => Schema;
  /** Schema of the query, as that of the body. Parameters that it does not name are refused; a route without one refuses all. */
  readonly query?: () => Query;
  /** The query and the body are not looked at: the standards of published documents say to ignore what they do not know (RFC 8414 §3). */
  readonly ignoresInput?: true;
  /** A request of this route changes nothing, whatever its method is: it has no record. */
  readonly changesNothing?: true;
  /**
   * For a route that creates something: with an `Idempotency-Key` it is carried out once, and answered again with the same body. The
   * handler's one `batch` claims the key, so whatever it writes it writes in that batch, and what it does outside the database it does
   * after it. `secrets`: where the answer has secrets, which are kept for 10 minutes and the answer for 24 hours.
   */
  readonly idempotent?: { readonly secrets: readonly string[] };
  /**
   * Schema of the body of a success, from which the reference and the SDK's types are made. A function, because a running Worker needs none
   * of them: handlers are checked against them at compile time.
   */
  readonly response: () => Response;
  /** The media types of a success that is not JSON, whose body is a string of any length: for the reference. */
  readonly mediaTypes?: readonly string[];
  /** Status of a success; 200 by default. */
  readonly status?: 200 | 201;
  /** `Cache-Control` of a success; `no-store` by default. */
  readonly cacheControl?: string;
  /** Returns the body of a success, or a whole response for anything else. Refuses by throwing an `ApiError`. */
  readonly handle: Handler<Call<Access, Path, Parsed<Body>, Parsed<Query>>, Response>;
}

/** Conditional only so that TypeScript knows the response's type while it checks a handler, and infers `true` as `true` and not as `boolean`. */
type Handler<C, R extends Schema> = R extends Schema ? (call: C) => MaybePromise<ResponseBody<R> | Response> : never;

type MaybePromise<T> = T | Promise<T>;

/** A declared route as the app mounts it, whatever the types of its handler. */
export interface MountedRoute<Auth extends string> extends Omit<
  RouteDeclaration<Auth, unknown, `/${string}`, Schema | undefined, Schema | undefined, Schema>,
  "handle"
> {
  readonly handle: (call: never) => MaybePromise<object>;
}
