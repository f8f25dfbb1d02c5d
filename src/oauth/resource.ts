import type { Config } from "../config/config.ts";
import { MCP_PATH } from "../http/challenge.ts";

/**
 * Reads the `resource` parameters of a request for a token (RFC 8707 §2): URLs of this deployment, of one of its services, or of its MCP
 * server. They are compared as whole URLs after parsing.
 *
 * The deployment's own audience is every endpoint of it. Together with the URL of a service it would not narrow anything, so it stands
 * alone.
 *
 * @returns the URLs that the token is for, null for every endpoint of the deployment, or what is wrong.
 */
export function readResources(
  values: readonly string[],
  { issuer, config }: { issuer: string; config: Pick<Config, "audience" | "services"> },
): { resources: readonly string[] | null } | { fault: string } {
  if (values.length === 0) return { resources: null };
  const wide = new Set([normalize(issuer), normalize(config.audience ?? issuer), config.audience ?? issuer]);
  const known = new Map(resourcePaths(config).map((path) => [normalize(issuer + path), issuer + path]));
  const resources = new Set<string>();
  let isWide = false;
  for (const value of values) {
    const url = normalize(value);
    const resource = known.get(url);
    if (wide.has(url) || wide.has(value)) isWide = true;
    else if (resource !== undefined) resources.add(resource);
    else
      return {
        fault: `resource must be ${issuer}, ${issuer}${MCP_PATH}, or ${issuer}/proxy/ and the name of a service.`,
      };
  }
  if (!isWide) return { resources: [...resources] };
  return resources.size === 0
    ? { resources: null }
    : { fault: `resource ${issuer} is every endpoint, so it stands alone.` };
}

/** The paths of the resources of this deployment. */
export const resourcePaths = ({ services }: Pick<Config, "services">): string[] => [
  MCP_PATH,
  ...[...services.keys()].map((name) => `/proxy/${name}`),
];

/** A URL in its one spelling. A text that is no URL is none of those that are known, and a fragment makes it another (RFC 8707 §2). */
const normalize = (text: string): string => URL.parse(text)?.href ?? text;
