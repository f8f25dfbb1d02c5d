import type { Config } from "../config/config.ts";

/**
 * One scheduled job, in limited steps. A step handles at most `limit` items and returns how many it handled. Steps may be repeated
 * or cut short at any point.
 *
 * @param now milliseconds.
 */
export type Job = (env: Env, config: Config, now: number, limit: number) => Promise<number>;
