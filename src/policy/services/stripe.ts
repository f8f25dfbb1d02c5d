import { STRIPE_TOKEN_PLACES } from "../token-place.ts";
import { STRIPE_REQUEST_HEADERS } from "./request-headers.ts";
import { REFUSED_PARAMETERS, type Preset, type ServiceDefinition } from "../service-definition.ts";
import { stripeLimits } from "./limits/stripe.ts";

/** Stripe.js sends headers of the API as parameters: another account, another version than `requestHeaders` lets through. */
const HEADERS_AS_PARAMETERS = ["_stripe_account", "_stripe_version"];

const presets: Readonly<Record<string, Preset>> = {
  subscriptions: {
    title: "subscriptions and their items",
    resources: { subscriptions: ["read"] },
    rules: [
      "GET /v1/subscriptions subscriptions",
      "GET /v1/subscriptions/{id} subscriptions",
      "GET /v1/subscription_items subscriptions",
      "GET /v1/subscription_items/{id} subscriptions",
    ],
    embeds: { expand: { subscription: "subscriptions" } },
  },
  refunds: {
    title: "refunds; writing them moves money back to a customer",
    resources: { refunds: ["read", "write"] },
    rules: [
      "GET,POST /v1/refunds refunds",
      "GET,POST /v1/refunds/{id} refunds",
      "POST /v1/refunds/{id}/cancel refunds",
    ],
    embeds: { expand: { refunds: "refunds", refund: "refunds" } },
  },
  products: {
    title: "products, their features and prices",
    resources: { products: ["read"] },
    rules: [
      "GET /v1/products products",
      "GET /v1/products/{id} products",
      "GET /v1/products/{id}/features products",
      "GET /v1/products/{id}/features/{feature_id} products",
      "GET /v1/prices products",
      "GET /v1/prices/{id} products",
    ],
    embeds: { expand: { product: "products", price: "products", default_price: "products" } },
  },
  balance: {
    title: "the balance and its transactions",
    resources: { balance: ["read"] },
    rules: [
      "GET /v1/balance balance",
      "GET /v1/balance_transactions balance",
      "GET /v1/balance_transactions/{id} balance",
    ],
    embeds: { expand: { balance_transaction: "balance" } },
  },
};

/** Several resources at once, other accounts, and what gives out a secret or a link that is one. */
const NEVER =
  "{what:account|account_links|account_sessions|accounts|apps|billing_portal|checkout|customer_sessions|ephemeral_keys|events|file_links|" +
  "files|financial_connections|forwarding|identity|issuing|oauth|reporting|setup_intents|sigma|sources|terminal|test_helpers|tokens|" +
  "treasury|webhook_endpoints}";
const refused = [`* /v1/${NEVER}`, `* /v1/${NEVER}/{rest...}`, "* /v2/{rest...}", "* /oauth/{rest...}"];

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
  // Stripe's forms may ask for the same (https://docs.stripe.com/expand).
  widerBodyParameters: ["expand"],
  limits: stripeLimits,
  presets,
  refused,
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
