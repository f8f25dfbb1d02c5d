/**
 * A rate limit that counts as the platform's does, so many in a minute of the clock, but by the test's clock: while that stands still, no
 * minute ends. The platform's own has the real clock, whatever the test's is.
 */
export function rateLimit(limit: number): { limit(options: RateLimitOptions): Promise<RateLimitOutcome> } {
  let minute = 0;
  const counts = new Map<string, number>();
  return {
    async limit({ key }) {
      const present = Math.floor(Date.now() / 60_000);
      if (present !== minute) counts.clear();
      minute = present;
      const count = (counts.get(key) ?? 0) + 1;
      if (count <= limit) counts.set(key, count);
      return { success: count <= limit };
    },
  };
}
