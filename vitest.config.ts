import { join } from "node:path";
import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { testSecrets } from "./test/support/secrets.ts";

/** How long `expect.poll` waits for what another process does. What comes at once costs no time; a busy machine may take its own. */
const expect = { poll: { timeout: 60_000 } };

/** What random inputs are made from. */
const provide = { seed: Number(process.env.SEED ?? 1) };

export default defineConfig({
  test: {
    // Refusals are logged; of tests that pass, nobody needs to read them.
    silent: "passed-only",
    tags: [
      {
        name: "slow",
        description: "Takes long: `npm run test:slow` runs it, `npm test` does not.",
        timeout: 900_000,
      },
    ],
    // Projects with different numbers of workers run one after another, in `groupOrder`, if one command names files of several.
    projects: [
      {
        plugins: [
          cloudflareTest(async () => ({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: {
                TEST_SETTINGS: { ...testSecrets, ISSUER: "https://auth.example.com", REGISTRATION: "open" },
                TEST_MIGRATIONS: await readD1Migrations("./migrations"),
                TEST_AUDIT_MIGRATIONS: await readD1Migrations("./migrations-audit"),
              },
            },
          })),
        ],
        // The tests declare their upstreams themselves, whatever files stand in upstreams/.
        resolve: { alias: { "#upstreams": join(import.meta.dirname, "src/config/upstream-files.ts") } },
        test: {
          name: "worker",
          sequence: { groupOrder: 0 },
          isolate: false,
          maxWorkers: 1,
          include: ["test/**/*.test.ts"],
          exclude: ["test/outside/**", "test/conformance/**", "test/differential/**", "test/browser/**"],
          globalSetup: ["./test/support/upstream-server.ts"],
          setupFiles: ["./test/support/migrate.ts", "./test/support/seed.ts"],
          provide,
          // A machine may have other things to do: no test here is about real time.
          testTimeout: 120_000,
          hookTimeout: 120_000,
          expect,
        },
      },
      {
        test: {
          name: "conformance",
          sequence: { groupOrder: 1 },
          include: ["test/conformance/**/*.test.ts"],
          globalSetup: ["./test/conformance/target.ts"],
          testTimeout: 120_000,
          hookTimeout: 300_000,
          expect,
        },
      },
      {
        test: {
          name: "differential",
          sequence: { groupOrder: 2 },
          include: ["test/differential/**/*.test.ts"],
          provide,
          testTimeout: 900_000,
        },
      },
      {
        test: {
          name: "browser",
          sequence: { groupOrder: 4 },
          include: ["test/browser/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          expect,
        },
      },
      {
        test: {
          name: "outside",
          // Loading wrangler, miniflare and esbuild again for each file costs more than most files do.
          isolate: false,
          sequence: { groupOrder: 3 },
          maxWorkers: 2,
          include: ["test/outside/**/*.test.ts"],
          provide,
          testTimeout: 300_000,
          hookTimeout: 600_000,
          expect,
        },
      },
    ],
  },
});
