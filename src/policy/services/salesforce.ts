import { SALESFORCE_REQUEST_HEADERS } from "./request-headers.ts";
import type { Preset, ServiceDefinition } from "../service-definition.ts";
import { salesforceLimits } from "./limits/salesforce.ts";

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

const presets: Readonly<Record<string, Preset>> = {
  contacts: {
    title: "the records of Contact",
    resources: { contacts: ["read", "write"] },
    rules: record("Contact", "contacts"),
  },
  opportunities: {
    title: "the records of Opportunity",
    resources: { opportunities: ["read", "write"] },
    rules: record("Opportunity", "opportunities"),
  },
};

const DATA = "/services/data/{version}";

/** Several objects at once, code, users, and what gives out a credential. */
const refused = [
  `* ${DATA}/{what:actions|analytics|async-queries|chatter|composite|connect|dedupe|jobs|knowledgeManagement|metadata|process}`,
  `* ${DATA}/{what:actions|analytics|async-queries|chatter|composite|connect|dedupe|jobs|knowledgeManagement|metadata|process}/{rest...}`,
  `* ${DATA}/{what:einstein|event|graphql|identity|parameterizedSearch|query|queryAll|search|tooling|ui-api|wave}`,
  `* ${DATA}/{what:einstein|event|graphql|identity|parameterizedSearch|query|queryAll|search|tooling|ui-api|wave}/{rest...}`,
  "* /services/{area:apexrest|async|auth|oauth2|Soap|wave}/{rest...}",
  `* ${DATA}/sobjects/{object:AuthSession|ConnectedApplication|NamedCredential|OauthToken|PermissionSetAssignment|User|UserLogin}`,
  `* ${DATA}/sobjects/{object:AuthSession|ConnectedApplication|NamedCredential|OauthToken|PermissionSetAssignment|User|UserLogin}/{rest...}`,
  // From a record to another object's.
  `* ${DATA}/sobjects/{object}/{id:record}/{relationship...}`,
];

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
  limits: salesforceLimits,
  presets,
  refused,
  rules: [...record("Account", "accounts"), ...record("Lead", "leads")],
};
