import { describe, expect, it } from "vitest";
import { world } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const good = { name: "An agent", owner_email: "owner@example.com" };
const invisible = (character: string) =>
  `must not hold characters that cannot be seen or that turn the direction of a text (${character})`;

describe("a body that is not as it must be", () => {
  it.each([
    [{}, { field: "name", message: "is required" }],
    [
      { ...good, name: 7 },
      { field: "name", message: "must be a string" },
    ],
    [
      { ...good, name: "ab" },
      { field: "name", message: "must have 3 or more characters" },
    ],
    [
      { ...good, name: "x".repeat(101) },
      { field: "name", message: "must have 100 or fewer characters" },
    ],
    [
      { ...good, name: "line\nbreak" },
      { field: "name", message: invisible("U+000A") },
    ],
    [
      { ...good, name: "half \ud83d of a pair" },
      { field: "name", message: invisible("U+D83D") },
    ],
    [
      { ...good, name: "\u202eevil" },
      { field: "name", message: invisible("U+202E") },
    ],
    [
      { ...good, name: "\u2800\u3000\u0301\u2800" },
      { field: "name", message: "must hold a letter, a number or a symbol" },
    ],
    [
      { ...good, description: "reads\u200b orders" },
      { field: "description", message: invisible("U+200B") },
    ],
    [
      { ...good, owner_email: "nobody" },
      { field: "owner_email", message: "must be an e-mail address" },
    ],
    [
      { ...good, permissions: "x" },
      { field: "permissions", message: "must be an array" },
    ],
    [
      { ...good, permissions: [] },
      { field: "permissions", message: "must have 1 or more entries" },
    ],
    [
      { ...good, permissions: [1] },
      { field: "permissions.0", message: "must be a string" },
    ],
    [[], { field: "(body)", message: "must be an object" }],
    ["text", { field: "(body)", message: "must be an object" }],
  ])("%j says what is wrong and where", async (json, detail) => {
    const { status, body } = await world().call("/agents/register", { method: "POST", json });
    expect(status).toBe(400);
    expect(body.details).toContainEqual(detail);
    expect(body.message).toContain(`${body.details[0].field} ${body.details[0].message}`);
  });

  it("says the same of a query", SLOW, async () => {
    const self = world();
    const { token } = await self.admin();
    const told = async (query: string) => (await self.call(`/agents?${query}`, { token })).body.details[0];
    expect(await told("limit=0")).toEqual({ field: "limit", message: "must be at least 1" });
    for (const odd of ["many", "", "1e1", "0x10", "5.0", "+5", "%2B5", "%205", "5%0a", "٣", "Infinity"]) {
      expect([odd, await told(`limit=${odd}`)]).toEqual([odd, { field: "limit", message: "must be a number" }]);
    }
    expect(await told("limit=-1")).toEqual({ field: "limit", message: "must be at least 1" });
    expect(await told(`limit=${"9".repeat(400)}`)).toMatchObject({ field: "limit" });
    expect(await told("offset=10001")).toEqual({ field: "offset", message: "must be at most 10000" });
    expect(await told("status=gone")).toEqual({
      field: "status",
      message: "must be one of active, inactive, suspended, revoked",
    });
  });

  it("never repeats what was sent", async () => {
    const json = { agent_id: { secret: "s3cret" }, api_key: ["s3cret"] };
    const answer = await world().fetch("/agents/verify", { method: "POST", json });
    expect(answer.status).toBe(400);
    expect(await answer.text()).not.toContain("s3cret");
  });
});
