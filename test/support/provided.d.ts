import "vitest";

declare module "vitest" {
  interface ProvidedContext {
    /** The origin of the local HTTP server that plays the upstreams. */
    upstream: string;
    /** What random inputs are made from. */
    seed: number;
  }
}
