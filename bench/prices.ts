/**
 * Dollars a million, beyond what the paid plan includes, as Cloudflare publishes them:
 * https://developers.cloudflare.com/workers/platform/pricing/ (requests, KV), …/d1/platform/pricing/ and
 * …/queues/platform/pricing/. A message is written, read and deleted: three operations. Rate limits cost nothing.
 * `d1Stored` and `r2Stored` are dollars a GB and month; R2 (https://developers.cloudflare.com/r2/pricing/) charges nothing for deletions.
 */
export const PRICES = {
  request: 0.3,
  rowRead: 0.001,
  rowWritten: 1,
  kvRead: 0.5,
  kvWrite: 5,
  message: 3 * 0.4,
  r2Write: 4.5,
  r2Read: 0.36,
  d1Stored: 0.75,
  r2Stored: 0.015,
};
