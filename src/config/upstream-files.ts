/**
 * The operator's upstreams from `upstreams/NAME.toml`, by name. In a Worker's bundle, `#upstreams` (package.json, "imports") is the
 * module that `scripts/upstreams.ts` compiles from these files; here, for everything that runs outside of the Worker, there are none.
 */
const files: Readonly<Record<string, unknown>> = {};

export default files;
