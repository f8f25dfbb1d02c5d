import type { Preset, ServiceDefinition } from "../service-definition.ts";
import { hubspotLimits } from "./limits/hubspot.ts";

/** The three spellings of one object API. */
const OBJECTS = ["/crm/v3/objects", "/crm/objects/v3", "/crm/objects/{version:month}"];
/** And of its associations, which have a fourth version. */
const ASSOCIATED = [...OBJECTS, "/crm/v4/objects", "/crm/objects/v4"];
const ASSOCIATIONS = ["/crm/v3/associations", "/crm/v4/associations", "/crm/associations/{version:month}"];

/** Each type by its names in a path. Other cases and spellings are uncovered. */
const TYPES = {
  contacts: "{type:contacts|contact|0-1}",
  companies: "{type:companies|company|0-2}",
  deals: "{type:deals|deal|0-3}",
  notes: "{type:notes|note|0-46}",
} as const;

type Type = keyof typeof TYPES;

const reading = (type: Type, path: string): string[] => [
  `GET ${path} ${type}`,
  `GET ${path}/{id} ${type}`,
  // Reads that carry their question in a body.
  `POST ${path}/search ${type}:read`,
  `POST ${path}/batch/read ${type}:read`,
];

const writing = (type: Type, path: string): string[] => [
  `POST ${path} ${type}`,
  `PATCH,DELETE ${path}/{id} ${type}`,
  `POST ${path}/batch/{what:create|update|upsert|archive} ${type}`,
  `POST ${path}/{what:merge|gdpr-delete} ${type}`,
];

const names = ["contacts", "companies", "deals"] as const;
const WRITABLE = ["contacts", "deals"] as const;

/** An association belongs to the objects at both ends, so reading or changing it needs the permissions for both. */
function associations(from: Type, to: Type): string[] {
  const both = (action: string) => [...new Set([from, to])].map((type) => `${type}:${action}`).join("+");
  const rules = (methods: string, sort: string, end: string, batch: string, needs: string) => [
    ...ASSOCIATED.map(
      (base) => `${methods} ${base}/${TYPES[from]}/{id}/associations${sort}/${TYPES[to]}${end} ${needs}`,
    ),
    ...ASSOCIATIONS.map((base) => `POST ${base}/${TYPES[from]}/${TYPES[to]}/batch/${batch} ${needs}`),
  ];
  const reading = rules("GET", "", "", "read", both("read"));
  if ([from, to].includes("companies")) return reading;
  return [
    ...reading,
    ...rules("PUT,DELETE", "", "/{to_id}", "{what:archive|create}", both("write")),
    ...rules("PUT", "/default", "/{to_id}", "associate/default", both("write")),
  ];
}

const ofTypes = `{type:${names.map((type) => TYPES[type].slice("{type:".length, -1)).join("|")}}`;

/** The names of types, as a query has them, with the permission for each. */
const embedded = (types: readonly Type[]) =>
  Object.fromEntries(
    types.flatMap((type) =>
      TYPES[type]
        .slice("{type:".length, -1)
        .split("|")
        .map((alias) => [alias, type]),
    ),
  );

const presets: Readonly<Record<string, Preset>> = {
  properties: {
    title: "which properties contacts, companies and deals have",
    resources: { properties: ["read"] },
    rules: [
      `GET /crm/v3/properties/${ofTypes} properties`,
      // `groups` is one of the names.
      `GET /crm/v3/properties/${ofTypes}/{name} properties`,
      `GET /crm/v3/properties/${ofTypes}/groups/{name} properties`,
      `POST /crm/v3/properties/${ofTypes}/batch/read properties:read`,
    ],
  },
  pipelines: {
    title: "the pipelines of deals and their stages",
    resources: { pipelines: ["read"] },
    rules: [
      `GET /crm/v3/pipelines/${TYPES.deals} pipelines`,
      `GET /crm/v3/pipelines/${TYPES.deals}/{pipeline_id} pipelines`,
      `GET /crm/v3/pipelines/${TYPES.deals}/{pipeline_id}/stages pipelines`,
      `GET /crm/v3/pipelines/${TYPES.deals}/{pipeline_id}/stages/{stage_id} pipelines`,
    ],
  },
  owners: {
    title: "the users who own objects, with their addresses",
    resources: { owners: ["read"] },
    rules: ["GET /crm/v3/owners owners", "GET /crm/v3/owners/{owner_id:int} owners"],
  },
  notes: {
    title: "notes, and linking them to contacts and deals",
    resources: { notes: ["read", "write"] },
    rules: [
      ...OBJECTS.flatMap((base) => [
        ...reading("notes", `${base}/${TYPES.notes}`),
        ...writing("notes", `${base}/${TYPES.notes}`),
      ]),
      ...names.flatMap((type) => [...associations("notes", type), ...associations(type, "notes")]),
    ],
    embeds: { associations: embedded(["notes"]) },
  },
};

/** Bulk, automation, the users of the account, and what gives out a credential. */
const refused = [
  "* /{area:automation|collector|integrators|oauth|settings|visitor-identification|webhooks}/{rest...}",
  "* /crm/v3/{what:exports|extensions|imports}",
  "* /crm/v3/{what:exports|extensions|imports}/{rest...}",
];

/** HubSpot CRM objects, from HubSpot's public API descriptions. */
export const hubspot: ServiceDefinition = {
  name: "hubspot",
  baseUrl: "https://api.hubapi.com",
  credential: { scheme: "bearer" },
  // HubSpot's own descriptions and clients write some paths with a slash at the end, and a JAX-RS server routes both alike.
  trailingSlash: "optional",
  alternativePaths: [...ASSOCIATED, ...ASSOCIATIONS].filter((path) => !path.startsWith("/crm/v3/")),
  embeds: {
    associations: embedded(names),
  },
  // HubSpot's API accepts JSON (https://developers.hubspot.com/docs/api/overview). Its one form is a file's upload, which may be long, and
  // `hapikey` stood in the query alone.
  refusedFormParameters: [],
  // An object that is created with associations changes the objects at their other ends, of whatever type they are.
  // And a search by `associations.deal` tells which objects of that type a found one belongs to
  // (https://developers.hubspot.com/docs/api/crm/search#search-through-associations).
  widerBodyParameters: [
    "associations",
    "inputs.associations",
    "filtergroups.filters.propertyname=associations",
    "filters.propertyname=associations",
    "sorts.propertyname=associations",
    "sorts=associations",
    "properties=associations",
    "propertieswithhistory=associations",
  ],
  responseHeaders: ["hubspot-*"],
  limits: hubspotLimits,
  presets,
  refused,
  bodyLinks: ["/paging/next/link", "/paging/prev/link"],
  rules: [
    ...names.flatMap((type) => OBJECTS.flatMap((base) => reading(type, `${base}/${TYPES[type]}`))),
    ...WRITABLE.flatMap((type) => OBJECTS.flatMap((base) => writing(type, `${base}/${TYPES[type]}`))),
    ...names.flatMap((from) => names.flatMap((to) => associations(from, to))),
  ],
};
