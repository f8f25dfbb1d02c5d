import type { LimitDefinition } from "../../limits.ts";

const LISTS = ["GET /v1/charges payments", "GET /v1/payment_intents payments", "GET /v1/invoices invoices"];

/** What grants may limit at Stripe. The catalogue reads only. */
export const stripeLimits: Readonly<Record<string, LimitDefinition>> = {
  // `search` is a value of `{id}` too, and no id.
  "path.id": {
    alone: [
      "GET /v1/charges/{id} payments",
      "GET /v1/payment_intents/{id} payments",
      "GET /v1/payment_intents/{id}/amount_details_line_items payments",
      "GET /v1/customers/{id} customers",
      "GET /v1/invoices/{id} invoices",
      "GET /v1/invoices/{id}/lines invoices",
    ],
    without: ["query.query", "query.page"],
  },
  "query.customer": { alone: LISTS, without: ["query.customer_account", "query.query"] },
};
