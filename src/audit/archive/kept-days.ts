import { DAY_MS } from "../../time/lengths.ts";

/** The first day, in days since the epoch, of which anything is kept: whole days are deleted. @param now milliseconds. */
export const firstKeptDay = (retentionDays: number, now: number): number => Math.floor(now / DAY_MS) - retentionDays;
