import { SALESFORCE_REQUEST_HEADERS } from "./request-headers.ts";
import type { ServiceDefinition } from "../service-definition.ts";

const record = (name: string, resource: string): string[] => {
  const path = `/services/data/{version:version}/sobjects/${name}`;
  return [
    `GET,POST ${path} ${resource}`,
    `GET ${path}/describe ${resource}`,
    `GET,PATCH,DELETE ${path}/{id:record} ${resource}`,
    // By an external id. `/{id}/{name}` has the same shape and walks to another object: uncovered.
    `GET,PATCH,DELETE ${path}/{field:custom}/{value} ${resource}`,
  ];
};

/**
 * Salesforce REST, the records of two objects. Every company has its own host: `base_url` is
 * `https://MYDOMAIN.my.salesforce.com`, which issues the token and accepts it, unless the token response names another host.
 */
export const salesforce: ServiceDefinition = {
  name: "salesforce",
  requestHeaders: SALESFORCE_REQUEST_HEADERS,
  credential: {
    scheme: "client_credentials",
    tokenUrl: "/services/oauth2/token",
    instanceDomain: "my.salesforce.com",
  },
  // Salesforce's guide writes `POST …/sobjects/Account/`, and so do clients that join a record's id to it.
  trailingSlash: "optional",
  // `_HttpMethod` (https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/intro_rest_resources.htm) is one of the
  // parameters that are refused everywhere, and a servlet reads parameters from forms too. JSON contains a record's fields only.
  // Fields of the record itself. `Owner.Email` is not.
  embeds: { fields: { "*": "" } },
  responseHeaders: ["sforce-*"],
  // Salesforce's links (`nextRecordsUrl`, `attributes.url`) begin at the root of its host, and its clients append them to their base URL, as
  // its documentation says: they stay as they are. `identity` is at login.salesforce.com.
  removedLinks: ["identity"],
  moreBodyLinks: ["url", "*Url"],
  rules: [...record("Account", "accounts"), ...record("Lead", "leads")],
};
