import type { Family } from "./family.ts";
import { bombs, redirects, responseHeaders, secretEchoes } from "./families/answers.ts";
import { heldBodies, races, tokens } from "./families/authority.ts";
import { addresses, badHosts, doors, names } from "./families/doors.ts";
import { floods, records } from "./families/floods.ts";
import { forms, jsonBodies, multiparts, queries } from "./families/parameters.ts";
import { paths } from "./families/paths.ts";
import { headers, methods } from "./families/wire.ts";

/** Everything that is tried, in this order. */
export const FAMILIES: readonly Family[] = [
  paths,
  queries,
  forms,
  multiparts,
  jsonBodies,
  headers,
  methods,
  redirects,
  responseHeaders,
  secretEchoes,
  bombs,
  heldBodies,
  tokens,
  races,
  floods,
  records,
  addresses,
  doors,
  badHosts,
  names,
];
