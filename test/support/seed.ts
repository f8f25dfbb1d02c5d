import fc from "fast-check";
import { inject } from "vitest";

// What is random is the same each time: a test fails for everybody, or for nobody. `SEED=2 npx vitest run …` tries other inputs.
fc.configureGlobal({ seed: inject("seed") });
