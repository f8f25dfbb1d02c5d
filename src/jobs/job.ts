import type { Config } from "../config/config.ts";

/**
 * One thing to be done every minute, in bounded steps: a step deals with at most `most` items and says with how many it did.
 * Harmless when done twice or cut short.
 */
export type Job = (env: Env, config: Config, now: number, most: number) => Promise<number>;
