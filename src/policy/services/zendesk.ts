import { ZENDESK_TOKEN_PLACES } from "../token-place.ts";
import { ZENDESK_REQUEST_HEADERS } from "./request-headers.ts";
import type { Preset, ServiceDefinition } from "../service-definition.ts";
import { zendeskLimits } from "./limits/zendesk.ts";

/** METHODS, path below /api/v2, permission. What is returned or changed decides, not the first segment. */
const RULES = `
GET,POST /tickets tickets
GET,PUT,DELETE /tickets/{id:int} tickets
GET /tickets/{what:count|recent|show_many} tickets
POST /tickets/create_many tickets
PUT /tickets/update_many tickets
DELETE /tickets/destroy_many tickets
GET /tickets/{id:int}/{part:audits|comments|incidents|metrics|related} tickets
GET /tickets/{id:int}/{part:audits|comments}/count tickets
GET /tickets/{id:int}/audits/{audit_id:int} tickets
PUT /tickets/{id:int}/audits/{audit_id:int}/make_private tickets
PUT /tickets/{id:int}/comments/{comment_id:int}/{change:make_private|redact} tickets
PUT /tickets/{id:int}/comments/{comment_id:int}/attachments/{attachment_id:int}/redact tickets
GET,POST,PUT,DELETE /tickets/{id:int}/tags tickets
POST /tickets/{id:int}/merge tickets
GET /tickets/{id:int}/{people:collaborators|email_ccs|followers} tickets+users
PUT /tickets/{id:int}/mark_as_spam tickets+users
PUT /tickets/mark_many_as_spam tickets+users
POST /imports/tickets tickets
POST /imports/tickets/create_many tickets
GET /problems tickets
POST /problems/autocomplete tickets:read
GET /deleted_tickets tickets
DELETE /deleted_tickets/{id:int} tickets
DELETE /deleted_tickets/destroy_many tickets
PUT /deleted_tickets/{id:int}/restore tickets
PUT /deleted_tickets/restore_many tickets
GET /suspended_tickets tickets
GET,DELETE /suspended_tickets/{id:int} tickets
DELETE /suspended_tickets/destroy_many tickets
PUT /suspended_tickets/{id:int}/recover tickets
PUT /suspended_tickets/recover_many tickets
GET,POST /requests tickets
GET,PUT /requests/{id:int} tickets
GET /requests/{status:ccd|open|solved} tickets
GET /requests/{id:int}/comments tickets
GET /requests/{id:int}/comments/{comment_id:int} tickets
GET /ticket_audits tickets
GET /ticket_metrics tickets
GET /ticket_metrics/{id:int} tickets
GET /incremental/tickets tickets
GET /incremental/tickets/{how:cursor|sample} tickets
GET /views/{id:int}/tickets tickets
GET /organizations/{id:int}/{what:tickets|requests} tickets
GET /organizations/{id:int}/tickets/count tickets
GET /users/{id:int}/requests tickets
GET /users/{id:int}/tickets/{how:assigned|ccd|followed|requested} tickets
GET /users/{id:int}/tickets/{how:assigned|ccd}/count tickets

GET,POST /users users
GET,PUT,DELETE /users/{id:int} users
GET /users/{what:autocomplete|count|me|search|show_many} users
POST /users/{what:create_many|create_or_update|create_or_update_many} users
PUT /users/update_many users
DELETE /users/destroy_many users
PUT /users/{id:int}/merge users
GET /users/{id:int}/{part:identities|related} users
GET /users/{id:int}/identities/{identity_id:int} users
GET,POST,PUT,DELETE /users/{id:int}/tags users
GET /deleted_users users
GET /deleted_users/count users
GET,DELETE /deleted_users/{id:int} users
GET /incremental/users users
GET /incremental/users/{how:cursor|sample} users
GET /groups/{id:int}/users users
GET /groups/{id:int}/users/count users
GET /organizations/{id:int}/users users
GET /organizations/{id:int}/users/count users
`;

const UPLOAD = "POST /api/v2/uploads uploads";

const presets: Readonly<Record<string, Preset>> = {
  uploads: {
    title: "uploading files, which a ticket's comment then attaches by their token",
    resources: { uploads: ["write"] },
    rules: [UPLOAD, "DELETE /api/v2/uploads/{upload_token:word} uploads"],
    fileRules: [UPLOAD],
  },
  "ticket-fields": {
    title: "which fields and forms tickets have",
    resources: { ticket_fields: ["read"] },
    rules: [
      "GET /api/v2/ticket_fields ticket_fields",
      "GET /api/v2/ticket_fields/{id:int} ticket_fields",
      "GET /api/v2/ticket_fields/{id:int}/options ticket_fields",
      "GET /api/v2/ticket_fields/{id:int}/options/{option_id:int} ticket_fields",
      "GET /api/v2/ticket_forms ticket_fields",
      "GET /api/v2/ticket_forms/{id:int} ticket_fields",
    ],
  },
};

/** Several resources at once, sessions and passwords, the account's own settings, and what gives out a credential. */
const NEVER =
  "{what:account|any_channel|api_tokens|apps|batch|channels|custom_roles|exports|global_oauth_clients|oauth|push_notification_devices|" +
  "search|session|sessions|sharing_agreements|target_failures|targets|webhooks}";
const refused = [
  `* /api/v2/${NEVER}`,
  `* /api/v2/${NEVER}/{rest...}`,
  "* /api/v2/users/{id}/{what:password|session|sessions|grant}",
  "* /api/v2/users/{id}/{what:password|session|sessions}/{rest...}",
  "POST,PUT,DELETE /api/v2/users/{id}/identities",
  "POST,PUT,DELETE /api/v2/users/{id}/identities/{rest...}",
  "* /oauth/{rest...}",
];

/**
 * Zendesk Support, from Zendesk's OpenAPI description. Every account has a host of its own: `base_url` is
 * `https://SUBDOMAIN.zendesk.com`. With a username the credential is an API token, without one an OAuth token.
 *
 * No rule writes identities or passwords: an agent that could set an address could take the account over.
 */
export const zendesk: ServiceDefinition = {
  name: "zendesk",
  requestHeaders: ZENDESK_REQUEST_HEADERS,
  tokenPlaces: ZENDESK_TOKEN_PLACES,
  credential: { scheme: "basic", usernameSuffix: "/token", orBearer: true },
  jsonSuffix: true,
  // Rails routes a path without the slash at its end (ActionDispatch::Journey::Router::Utils.normalize_path).
  trailingSlash: "optional",
  embeds: {
    include: {
      users: "users",
      tickets: "tickets",
      comment_count: "tickets",
      dates: "tickets",
      incident_counts: "tickets",
      last_audits: "tickets",
      metric_events: "tickets",
      metric_sets: "tickets",
      slas: "tickets",
      identities: "users",
    },
  },
  responseHeaders: ["zendesk-*"],
  // Zendesk is a Rails application: parameters of the query, of forms and of JSON are merged into one set
  // (https://guides.rubyonrails.org/action_controller_overview.html#json-parameters). There `include` loads other resources beside the
  // answer, and `access_token` is a credential (RFC 6750 §2.2).
  refusedBodyParameters: ["access_token"],
  widerBodyParameters: ["include"],
  limits: zendeskLimits,
  presets,
  refused,
  bodyLinks: ["/next_page", "/previous_page", "/links/next", "/links/prev", "/after_url", "/before_url"],
  rules: RULES.trim()
    .split(/\n+/)
    .map((line) => line.replace(" ", " /api/v2")),
};
