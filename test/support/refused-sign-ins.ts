import { recordRefusals } from "../../src/audit/refusals.ts";
import { MINUTE_MS } from "../../src/time/lengths.ts";
import type { World } from "./world.ts";

/** What was recorded of refused sign-ins once their minute is over: of a world of its own, the first at once, and the others later. */
export async function refusedSignIns(self: World) {
  await self.drain();
  await recordRefusals(self.env.AUDIT_DB, Date.now() + 2 * MINUTE_MS, 500);
  return (await self.records("")).filter(({ action }) => action === "person.sign_in_refused");
}
