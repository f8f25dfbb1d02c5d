/**
 * Dollars a million, beyond what the paid plan includes, as Cloudflare publishes them:
 * https://developers.cloudflare.com/workers/platform/pricing/ (requests, KV), …/d1/platform/pricing/ and
 * …/queues/platform/pricing/. A message is written, read and deleted: three operations. Rate limits cost nothing.
 */
export const PRICES = { request: 0.3, rowRead: 0.001, rowWritten: 1, kvRead: 0.5, kvWrite: 5, message: 3 * 0.4 };
