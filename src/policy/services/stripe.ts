import { STRIPE_TOKEN_PLACES } from "../token-place.ts";
import { STRIPE_REQUEST_HEADERS } from "./request-headers.ts";
import { REFUSED_PARAMETERS, type ServiceDefinition } from "../service-definition.ts";

/** Stripe.js sends headers of the API as parameters: another account, another version than `requestHeaders` lets through. */
const HEADERS_AS_PARAMETERS = ["_stripe_account", "_stripe_version"];

/**
 * Stripe, from the resources of the `stripe` package. The catalogue reads only, so every POST and DELETE is uncovered, and so are
 * refunds, disputes and payment methods. Give it a restricted, read-only key.
 */
export const stripe: ServiceDefinition = {
  name: "stripe",
  requestHeaders: STRIPE_REQUEST_HEADERS,
  tokenPlaces: STRIPE_TOKEN_PLACES,
  baseUrl: "https://api.stripe.com",
  credential: { scheme: "bearer" },
  defaultHeaders: { "stripe-version": "2026-10-28.endive" },
  responseHeaders: ["stripe-*", "original-request"],
  refusedParameters: [...REFUSED_PARAMETERS, ...HEADERS_AS_PARAMETERS],
  // Stripe's own forms have a `token` (https://docs.stripe.com/api/external_accounts/create) and a payout's `method`.
  refusedFormParameters: [
    ...REFUSED_PARAMETERS.filter((name) => name !== "token" && name !== "method"),
    ...HEADERS_AS_PARAMETERS,
  ],
  // `expand` follows references, up to four deep: every step counts, and one that is not listed is uncovered.
  embeds: {
    expand: {
      data: "",
      lines: "invoices",
      invoice: "invoices",
      latest_invoice: "invoices",
      customer: "customers",
      charge: "payments",
      latest_charge: "payments",
      payment_intent: "payments",
    },
  },
  rules: [
    // `{id}` matches `search` too, which returns the same resources as the listing.
    "GET /v1/charges payments",
    "GET /v1/charges/{id} payments",
    "GET /v1/payment_intents payments",
    "GET /v1/payment_intents/{id} payments",
    "GET /v1/payment_intents/{id}/amount_details_line_items payments",
    "GET /v1/customers customers",
    "GET /v1/customers/{id} customers",
    "GET /v1/invoices invoices",
    "GET /v1/invoices/{id} invoices",
    "GET /v1/invoices/{id}/lines invoices",
  ],
};
