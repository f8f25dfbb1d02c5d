import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FAMILIES } from "../attack/families.ts";
import { rowsIn, runAttack } from "../attack/run.ts";
import { SLOW } from "../support/extents.ts";

const SEED = 1;

describe("the attack", () => {
  it("gets nothing through, family by family", { tags: ["slow"], timeout: 1_800_000 }, async () => {
    const results = await runAttack({ seed: SEED, size: "small" });
    expect(results.map(({ family }) => family.name)).toEqual(FAMILIES.map(({ name }) => name));
    expect(results.filter(({ tried }) => tried === 0)).toEqual([]);
    const failed = results.flatMap(({ family, failure }) =>
      failure === undefined ? [] : [`${family.name}: ${failure}`],
    );
    expect(failed).toEqual([]);
    const through = results.flatMap((result) => result.through);
    expect(through).toEqual([]);
  });

  it("makes the same inputs from the same seed, and others from another", () => {
    const made = (seed: number) => FAMILIES.map((family) => family.plan(seed, "small").inputs);
    expect(made(SEED)).toEqual(made(SEED));
    expect(made(SEED)).not.toEqual(made(SEED + 1));
  });

  it("has a name for each family", () => {
    expect(new Set(FAMILIES.map(({ name }) => name)).size).toBe(FAMILIES.length);
  });

  it.each([
    "https://auth.example.com",
    "http://10.0.0.1:8787",
    "http://127.0.0.1.example:80",
    "http://127.0.0.1:80@example.com",
  ])("is not made on %s", async (url) => {
    await expect(runAttack({ seed: SEED, size: "small", url })).rejects.toThrow("is not attacked");
  });
});

describe("the table in docs/security.md", () => {
  const rows = rowsIn(readFileSync(join(import.meta.dirname, "../../docs/security.md"), "utf8"));

  it("is the one that the families make", SLOW, () => {
    const made = FAMILIES.map((family) => {
      const { name, wants } = family;
      return { name, wants, tried: family.plan(SEED, "full").inputs.length };
    });
    expect(rows.map(({ name, wants, tried }) => ({ name, wants, tried }))).toEqual(made);
  });

  it("says that nothing got through", () => {
    expect(rows.filter(({ through }) => through !== "0")).toEqual([]);
  });
});
