import type { LimitDefinition } from "../../limits.ts";

const BASES = ["/crm/v3/objects", "/crm/objects/v3", "/crm/objects/{version:month}"];
const TYPES = {
  contacts: "{type:contacts|contact|0-1}",
  companies: "{type:companies|company|0-2}",
  deals: "{type:deals|deal|0-3}",
} as const;
type Type = keyof typeof TYPES;

const each = (types: readonly Type[], line: (path: string, type: Type) => string): string[] =>
  types.flatMap((type) => BASES.map((base) => line(`${base}/${TYPES[type]}`, type)));

const READ = each(["contacts", "companies", "deals"], (path, type) => `GET ${path}/{id} ${type}`);
const WRITE = each(["contacts", "deals"], (path, type) => `PATCH,DELETE ${path}/{id} ${type}`);
const CREATE = each(["contacts", "deals"], (path, type) => `POST ${path} ${type}`);
const DEALS = [...WRITE, ...CREATE].filter((line) => line.endsWith(" deals"));

/**
 * What grants may limit at HubSpot. Batches, searches, merges and associations name other objects in their bodies: they are denied under
 * a limit. `idProperty` makes the id in the path another property's value, so it may not be given.
 */
export const hubspotLimits: Readonly<Record<string, LimitDefinition>> = {
  "path.id": { alone: [...READ, ...WRITE], without: ["query.idProperty", "body.idProperty"] },
  "body.properties.hubspot_owner_id": { alone: [...WRITE, ...CREATE] },
  "body.properties.pipeline": { alone: DEALS },
  "body.properties.dealstage": { alone: DEALS },
  "body.properties.amount": { alone: DEALS },
};
