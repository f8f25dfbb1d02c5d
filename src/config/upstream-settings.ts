import * as z from "zod/mini";
import { NAME_PATTERN } from "../permissions/grammar.ts";
import { isReservedResponseHeader } from "../gateway/upstream/response-headers.ts";

const name = z.string().check(z.regex(NAME_PATTERN));

const baseUrl = z.string().check(
  z.refine(isBaseUrl, {
    error: "must be an http(s) URL without user, query, fragment or trailing slash",
  }),
);

/** A header that carries a credential: not one that frames the request or says where it goes. */
const headerName = z.string().check(
  z.regex(/^(?!(?:host|connection|content-.*|transfer-encoding|te|trailer|upgrade|expect)$)[a-z0-9-]+$/i, {
    error: "must be a header that can carry a credential",
  }),
);

/** A response header that passes beside those that pass for every upstream; `X-Foo-*` is all that begin so. */
const responseHeader = z.string().check(
  z.regex(/^[a-z0-9][a-z0-9-]*\*?$/i, { error: "must be the name of a header, or its beginning and *" }),
  z.refine((pattern) => !isReservedResponseHeader(pattern.toLowerCase()), {
    error:
      "names a header that no agent gets: of cookies, credentials, browsers, caches, one hop or the gateway itself",
  }),
);

const SCHEMES = {
  bearer: z.strictObject({ scheme: z.enum(["bearer"]) }),
  basic: z.strictObject({ scheme: z.enum(["basic"]) }),
  header: z.strictObject({
    scheme: z.enum(["header"]),
    name: headerName,
    prefix: z.optional(z.string().check(z.regex(/^[\x20-\x7e]*$/))),
  }),
  headers: z.strictObject({
    scheme: z.enum(["headers"]),
    headers: z.record(headerName, z.enum(["TOKEN", "USERNAME", "CLIENT_ID", "CLIENT_SECRET"])),
  }),
  client_credentials: z.pipe(
    z.strictObject({
      scheme: z.enum(["client_credentials"]),
      token_url: z.string().check(
        z.refine((text) => /^\/[^/\\]/.test(text) || /^https?:$/.test(URL.parse(text)?.protocol ?? ""), {
          error: "must be an http(s) URL, or a path at the base URL's origin",
        }),
      ),
      scope: z.optional(z.string()),
    }),
    z.transform(({ token_url: tokenUrl, ...rest }) => ({ ...rest, tokenUrl })),
  ),
  none: z.strictObject({ scheme: z.enum(["none"]) }),
};

type Scheme = keyof typeof SCHEMES;

const credential = z.pipe(
  z.looseObject({ scheme: z.enum(Object.keys(SCHEMES) as Scheme[]) }),
  z.transform((value, context): z.infer<(typeof SCHEMES)[Scheme]> => {
    const parsed = SCHEMES[value.scheme].safeParse(value);
    if (parsed.success) return parsed.data;
    context.issues.push(
      ...parsed.error.issues.map(({ message, path }) => ({ code: "custom" as const, message, path, input: value })),
    );
    return z.NEVER;
  }),
);

const upstream = z.strictObject({
  base_url: z.optional(baseUrl),
  credential: z.optional(credential),
  resources: z.optional(z.record(name, z.array(name).check(z.minLength(1)))),
  rules: z.optional(z.array(z.string()).check(z.minLength(1))),
  response_headers: z.optional(z.array(responseHeader)),
  refuse_parameters: z.optional(
    z.array(
      z.string().check(z.regex(/^[\w-]*[a-z0-9][\w-]*$/i, { error: "must be a name of letters, digits, _ and -" })),
    ),
  ),
  timeout_ms: z.optional(z.number().check(z.int(), z.minimum(1), z.maximum(600_000))),
});

/** One `[vars.UPSTREAMS.<name>]` of the configuration. */
export type UpstreamSettings = z.infer<typeof upstream>;

const PREFIX = "UPSTREAMS.";

/**
 * The upstreams that an environment declares: the table `UPSTREAMS`, and, where a table cannot be written (`.dev.vars`, `--var`), flat
 * settings called `UPSTREAMS.<name>` (JSON) or `UPSTREAMS.<name>.<key>`, which win over it.
 */
export function upstreamSettings(env: Record<string, unknown>): {
  upstreams: Map<string, UpstreamSettings>;
  faults: string[];
} {
  const upstreams = new Map<string, UpstreamSettings>();
  const faults: string[] = [];
  for (const [key, value] of Object.entries(declared(env, faults))) {
    if (!NAME_PATTERN.test(key)) {
      faults.push(`UPSTREAMS.${key}: a name is lower-case letters, digits, _ and -.`);
      continue;
    }
    const parsed = upstream.safeParse(value);
    if (parsed.success) upstreams.set(key, parsed.data);
    for (const issue of parsed.error?.issues ?? []) {
      faults.push(`UPSTREAMS.${[key, ...issue.path].join(".")}: ${issue.message}.`);
    }
  }
  return { upstreams, faults };
}

function declared(env: Record<string, unknown>, faults: string[]): Record<string, unknown> {
  const found: Record<string, unknown> = Object.create(null);
  const table = fromJson("UPSTREAMS", env.UPSTREAMS ?? {}, faults);
  if (isRecord(table)) Object.assign(found, table);
  else faults.push("UPSTREAMS: must be a table of upstreams by name.");
  for (const [setting, value] of Object.entries(env)) {
    if (!setting.startsWith(PREFIX)) continue;
    const [key = "", part, ...rest] = setting.slice(PREFIX.length).split(".");
    if (rest.length > 0) faults.push(`${setting}: deeper settings are written as JSON in UPSTREAMS.${key}.`);
    else if (part === undefined) found[key] = fromJson(setting, value, faults);
    else found[key] = { ...(isRecord(found[key]) && found[key]), [part]: fromJson(setting, value, faults) };
  }
  return found;
}

/** A text that looks like JSON is read as JSON; any other is itself. */
function fromJson(setting: string, value: unknown, faults: string[]): unknown {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    faults.push(`${setting}: is not valid JSON.`);
    return value;
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function isBaseUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  const path = url.pathname === "/" ? "" : url.pathname;
  return /^https?:$/.test(url.protocol) && !path.endsWith("/") && text.replace(/\/$/, "") === url.origin + path;
}
