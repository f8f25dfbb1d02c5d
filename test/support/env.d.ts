import type { D1Migration } from "@cloudflare/vitest-plugin";
import type { testSecrets } from "./secrets.ts";

declare global {
  namespace Cloudflare {
    interface Env extends Record<keyof typeof testSecrets, string> {
      TEST_MIGRATIONS: D1Migration[];
    }
  }
}
