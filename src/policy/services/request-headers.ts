import { ANY, type HeaderRules } from "../header-rule.ts";

/**
 * The request headers that the vendors document, beside those that every upstream gets. Slack and HubSpot document none.
 *
 * What acts as somebody else than the credential is refused: dropped, it would silently act as the credential itself.
 */

/** https://docs.github.com/en/rest/about-the-rest-api/api-versions, https://docs.github.com/en/rest/using-the-rest-api/timezones-and-the-rest-api. */
export const GITHUB_REQUEST_HEADERS: HeaderRules = {
  "x-github-api-version": {
    passes: ANY,
    otherwise: "refuse_write",
    because: "another version may read the body differently",
  },
  // The time zone of a commit that is made through the contents API.
  "time-zone": { passes: /^[\w+-]+(?:\/[\w+-]+){0,2}$/, otherwise: "drop" },
  // The form of node ids in answers.
  "x-github-next-global-id": { passes: /^[01]$/, otherwise: "drop" },
  // A person's one-time password.
  "x-github-otp": { otherwise: "drop" },
};

/** https://docs.stripe.com/api/versioning, https://docs.stripe.com/connect/authentication, https://docs.stripe.com/context. */
export const STRIPE_REQUEST_HEADERS: HeaderRules = {
  // Before 2022-11-15 a charge includes its refunds, and before 2020-08-27 a customer its cards and subscriptions.
  "stripe-version": {
    passes: /^20(?:22-1[12]|2[3-9]-\d\d|[3-9]\d-\d\d)-[\w.;= -]+$/,
    otherwise: "refuse_write",
    because:
      "versions before 2022-11-15 put refunds and cards into other answers. Send a later one, or none for the gateway's",
  },
  "stripe-account": { otherwise: "refuse", because: "it acts on another account than the credential's" },
  "stripe-context": { otherwise: "refuse", because: "it acts on another account than the credential's" },
  // The libraries' reports about themselves.
  "x-stripe-client-*": { otherwise: "ignore" },
};

/**
 * https://developer.zendesk.com/documentation/ticketing/managing-tickets/making-api-requests-on-behalf-of-end-users, and
 * https://developer.zendesk.com/documentation/marketplace/building-a-marketplace-app/request-header-requirements-for-marketplace-apps.
 */
export const ZENDESK_REQUEST_HEADERS: HeaderRules = {
  "x-on-behalf-of": { otherwise: "refuse", because: "it acts as another user than the credential's" },
  // They name the application that calls, for Zendesk's statistics.
  "x-zendesk-marketplace-name": { passes: ANY, otherwise: "drop" },
  "x-zendesk-marketplace-organization-id": { passes: ANY, otherwise: "drop" },
  "x-zendesk-marketplace-app-id": { passes: ANY, otherwise: "drop" },
  "x-zendesk-marketplace-bot-id": { passes: ANY, otherwise: "drop" },
};

/** https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/headers.htm */
export const SALESFORCE_REQUEST_HEADERS: HeaderRules = {
  // TRUE, FALSE, or the id of an assignment rule.
  "sforce-auto-assign": {
    passes: /^(?:true|false|[a-z\d]{15}(?:[a-z\d]{3})?)$/i,
    otherwise: "refuse_write",
    because: "without it the record would be assigned differently. Send TRUE, FALSE or the id of a rule",
  },
  // With `client` it names the application of another company, which has rights of its own.
  "sforce-call-options": {
    passes: /^\s*defaultNamespace\s*=\s*\w{1,15}\s*$/i,
    otherwise: "refuse",
    because: "it acts as another application. Only defaultNamespace is forwarded",
  },
  // `includeRecordDetails` returns the fields of other records, of other objects too, and `runAsCurrentUser` changes which are found.
  "sforce-duplicate-rule-header": {
    passes: /^\s*allowSave\s*=\s*(?:true|false)\s*$/i,
    otherwise: "refuse_write",
    because: "it may return the fields of other records. Only allowSave is forwarded",
  },
  "sforce-query-options": { passes: /^\s*batchSize\s*=\s*\d{1,5}\s*$/i, otherwise: "drop" },
  // It changes the list of records that the credential's user has seen last, by a read too.
  "sforce-mru": { otherwise: "drop" },
  "sforce-*": { otherwise: "refuse_write", because: "the gateway does not know what it changes" },
  "x-sfdc-packageversion-*": {
    passes: /^\d{1,4}\.\d{1,4}$/,
    otherwise: "refuse_write",
    because: "without it another version of the package would run. Send MAJOR.MINOR",
  },
  "x-sfdc-session": { otherwise: "refuse", because: "it is a session of somebody else" },
  "x-prettyprint": { passes: /^[01]$/, otherwise: "drop" },
};
