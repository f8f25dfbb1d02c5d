#!/usr/bin/env node
import { spawn } from "node:child_process";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

// The command `agentauth` of a clone. npm links this file once, when it is first asked for the command, and keeps the link: a file that
// only a build makes would stay unknown to it. In JavaScript, so that Node 20 starts it.
const inRoot = (name) => new URL(`../${name}`, import.meta.url);
const source = inRoot("src/cli/main.ts");
const own = fileURLToPath(inRoot("node_modules/.bin/node"));

if (!existsSync(source)) {
  // A package that was packed from the repository has what was built, and no source.
  await import(inRoot("dist/npm/cli/agentauth.js").href);
} else if (process.features.typescript) {
  globalThis.VERSION = JSON.parse(readFileSync(inRoot("package.json"), "utf8")).version;
  await import(source.href);
} else if (existsSync(own) && realpathSync(own) !== process.execPath) {
  const child = spawn(own, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  // A terminal sends Ctrl-C to both, and the command decides what it means.
  process.on("SIGINT", () => {});
  process.once("SIGTERM", () => child.kill("SIGTERM"));
  child.once("exit", (code) => (process.exitCode = code ?? 1));
} else {
  console.error(
    `\nThis is Node ${process.versions.node}, which does not read the source of agentauth. Run \`npm ci\` first, which installs one that does.\n`,
  );
  process.exitCode = 1;
}
