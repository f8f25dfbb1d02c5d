import type { Services as _ } from "../../../src/client/index.ts";

/** The service of these tests' own. */
declare module "../../../src/client/index.ts" {
  interface Services {
    lab: { things: "read" | "write" };
  }
}
