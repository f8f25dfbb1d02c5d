import { parse } from "smol-toml";

/** What an environment of wrangler.toml is bound to, as far as somebody has to make it. */
export interface Environment {
  readonly worker: string;
  readonly databases: readonly string[];
  readonly buckets: readonly string[];
  /** `id` is undefined until the namespace is made. */
  readonly namespaces: readonly { readonly binding: string; readonly id?: string | undefined }[];
  /** Those of producers, of consumers and for dead letters. */
  readonly queues: readonly string[];
  /** "" until it is set. */
  readonly issuer: string;
  readonly keepsBootstrapToken: boolean;
}

interface RawEnvironment {
  name: string;
  d1_databases: { database_name: string }[];
  r2_buckets: { bucket_name: string }[];
  kv_namespaces: { binding: string; id?: string }[];
  queues: { producers: { queue: string }[]; consumers: { queue: string; dead_letter_queue?: string }[] };
  vars: { ISSUER?: string; BOOTSTRAP?: string };
}

/** Returns an environment of the text of a wrangler.toml, or undefined if it has none of this name. @throws {Error} for a text that is no TOML. */
export function readEnvironment(text: string, name: string): Environment | undefined {
  const { env = {} } = parse(text) as { env?: Record<string, RawEnvironment> };
  const found = env[name];
  if (!found) return undefined;
  const { producers, consumers } = found.queues;
  return {
    worker: found.name,
    databases: found.d1_databases.map(({ database_name }) => database_name),
    buckets: found.r2_buckets.map(({ bucket_name }) => bucket_name),
    namespaces: found.kv_namespaces.map(({ binding, id }) => ({ binding, id })),
    queues: [
      ...new Set([
        ...producers.map(({ queue }) => queue),
        ...consumers.flatMap(({ queue, dead_letter_queue: dead }) => (dead === undefined ? [queue] : [queue, dead])),
      ]),
    ],
    issuer: found.vars.ISSUER ?? "",
    keepsBootstrapToken: found.vars.BOOTSTRAP === "keep",
  };
}

/**
 * Returns the text with the origin of an environment: `ISSUER`, and the Worker's route if the origin is not below workers.dev. Undefined
 * if the lines to change are not there as they were made.
 */
export function withIssuer(text: string, name: string, issuer: string): string | undefined {
  const { hostname } = new URL(issuer);
  const isWorkersDev = hostname.endsWith(".workers.dev");
  const withVariable = replaceIn(text, `[env.${name}.vars]`, /^ISSUER = ".*"$/m, `ISSUER = ${JSON.stringify(issuer)}`);
  if (withVariable === undefined || isWorkersDev) return withVariable;
  const route = `workers_dev = false\nroutes = [{ pattern = ${JSON.stringify(hostname)}, custom_domain = true }]`;
  return replaceIn(withVariable, `[env.${name}]`, /^workers_dev = (?:true|false)(?:\nroutes = .*)?$/m, route);
}

/** Returns the text with the id of an environment's only KV namespace, or undefined as `withIssuer` does. */
export function withNamespace(
  text: string,
  name: string,
  { binding, id }: { binding: string; id: string },
): string | undefined {
  const line = `kv_namespaces = [{ binding = ${JSON.stringify(binding)}, id = ${JSON.stringify(id)} }]`;
  return replaceIn(text, `[env.${name}]`, /^kv_namespaces = .*$/m, line);
}

/** Replaces the first match between a table's header and the next one. */
function replaceIn(text: string, header: string, pattern: RegExp, replacement: string): string | undefined {
  const at = `\n${text}`.indexOf(`\n${header}\n`);
  if (at < 0) return undefined;
  const start = at + header.length;
  const next = text.slice(start).search(/^\[/m);
  const end = next < 0 ? text.length : start + next;
  const table = text.slice(start, end);
  if (!pattern.test(table)) return undefined;
  return text.slice(0, start) + table.replace(pattern, () => replacement) + text.slice(end);
}
