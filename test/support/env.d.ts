import type { D1Migration } from "@cloudflare/vitest-plugin";
import type { testSecrets } from "./secrets.ts";

declare global {
  namespace Cloudflare {
    interface Env {
      TEST_MIGRATIONS: D1Migration[];
      TEST_AUDIT_MIGRATIONS: D1Migration[];
      /** All settings of the tests: what `.dev.vars` says on this machine does not count. */
      TEST_SETTINGS: Record<keyof typeof testSecrets, string>;
    }
  }
}
