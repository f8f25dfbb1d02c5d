import type { LimitDefinition } from "../../limits.ts";

const base = (name: string) => `/services/data/{version:version}/sobjects/${name}`;
const record = (name: string, resource: string) => `GET,PATCH,DELETE ${base(name)}/{id:record} ${resource}`;
const create = (name: string, resource: string) => `GET,POST ${base(name)} ${resource}`;
const RECORDS = [record("Account", "accounts"), record("Lead", "leads")];

/**
 * What grants may limit at Salesforce. The 15 and the 18 characters of one id are two texts: a limit to one of them denies the other. A
 * record that is named by an external id has no `path.id`, and is denied under a limit on it.
 */
export const salesforceLimits: Readonly<Record<string, LimitDefinition>> = {
  "path.id": { alone: RECORDS },
  "body.OwnerId": {
    alone: [...RECORDS, create("Account", "accounts"), create("Lead", "leads")],
    without: ["body.Owner"],
  },
  "body.Status": { alone: [record("Lead", "leads"), create("Lead", "leads")] },
};
