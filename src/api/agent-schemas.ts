import * as z from "zod/mini";
import { paging } from "./paging.ts";
import { readableLine, readableText } from "../validation/readable-text.ts";
import { STATUSES, TIERS } from "../agents/agent.ts";
import { fromCursor } from "../agents/page.ts";

const nameSchema = readableLine(3, 100);

const permissionsSchema = z.array(z.string().check(z.maxLength(100))).check(z.minLength(1), z.maxLength(50));

export const registerBody = z.object({
  name: nameSchema,
  owner_email: z.string().check(z.trim(), z.maxLength(255), z.email()),
  permissions: z.optional(z.nullable(permissionsSchema)),
  description: z.optional(z.nullable(readableText(500))),
});

export const statusBody = z.object({ status: z.enum(STATUSES) });
export const tierBody = z.object({ tier: z.enum(TIERS) });
export const permissionsBody = z.object({ permissions: permissionsSchema });

/** How long the keys before a fresh one stay good, in seconds: an hour unless it is said, thirty days at the most. */
export const rotateKeyBody = z._default(
  z.object({
    overlap_seconds: z._default(
      z
        .int()
        .check(z.minimum(0), z.maximum(30 * 86_400), z.describe("How many seconds the previous API key stays valid.")),
      3600,
    ),
  }),
  { overlap_seconds: 3600 },
);

export const agentsQuery = z.object({
  ...paging,
  status: z.optional(z.enum(STATUSES)),
  q: z.optional(
    z
      .string()
      .check(z.trim(), z.maxLength(100), z.describe("The beginning of a name, of an owner's address or of an id.")),
  ),
  cursor: z.optional(
    z.string().check(
      z.refine((text) => fromCursor(text) !== undefined, { error: "must be a next_cursor of this list" }),
      z.describe("The `next_cursor` of the previous page."),
    ),
  ),
});
