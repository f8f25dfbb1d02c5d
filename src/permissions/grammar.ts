import { actionsOf, actionsOfWildcard, type Catalogue } from "./catalogue.ts";

/** A service, resource or action name. */
export const NAME_PATTERN = /^[a-z][a-z0-9_-]{0,31}$/;

/** Grants everything, AgentAuth's own administration included. */
export const ADMIN = "*:*:*";

/** Returns `service:*:*`. Beside {@link ADMIN} it is the only permission that grants requests which no rule covers. */
export const serviceWildcard = (service: string): string => `${service}:*:*`;

/**
 * Returns why a text cannot be granted, as one or two sentences, or undefined if it can be.
 *
 * Accepted are `service:resource:action` of the catalogue, `service:resource:*`, `service:*:*` and `*:*:*`.
 */
export function validatePermission(text: string, catalogue: Catalogue): string | undefined {
  if (text === ADMIN) return undefined;
  const parts = text.split(":");
  const [service, resource, action] = parts;
  if (parts.length !== 3 || !service || !resource || !action) {
    return "A permission has three parts: service:resource:action, for example zendesk:tickets:read.";
  }
  if (service === "*") return "A service wildcard is only allowed as *:*:*.";
  if (resource === "*" && action !== "*") return `Name the resource, or grant ${service}:*:*.`;
  for (const part of parts) {
    if (part !== "*" && !NAME_PATTERN.test(part)) {
      return "Each part is a lower-case name (letters, digits, _ and -) or *.";
    }
  }
  if (!Object.hasOwn(catalogue, service)) {
    return `There is no service ${service}. GET /permissions/list names them.`;
  }
  if (resource === "*") return undefined;
  const actions = actionsOf(catalogue, service, resource);
  if (actions.length === 0) return `${service} has no resource ${resource}. GET /permissions/list names them.`;
  if (action !== "*" && !actions.includes(action)) {
    return `${service}:${resource} can be granted for ${actions.join(", ")} only.`;
  }
  if (action === "*" && actionsOfWildcard(catalogue, service, resource).length === 0) {
    return `${service}:${resource} is not of the built-in catalogue, so its actions are granted by name: ${actions.join(", ")}.`;
  }
  return undefined;
}
