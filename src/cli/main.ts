import { EXIT } from "./failure.ts";
import { run } from "./run.ts";

/** Replaced by the build, and set by scripts/agentauth.js in a clone. */
declare const VERSION: string;

const interrupted = new AbortController();
process.on("SIGINT", () => {
  // The second Ctrl-C does not wait for what is under way.
  if (interrupted.signal.aborted) process.exit(EXIT.interrupted);
  interrupted.abort(new Error("Interrupted."));
});
// A reader that has seen enough, such as head, closes the pipe.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", ({ code }: NodeJS.ErrnoException) => process.exit(code === "EPIPE" ? EXIT.ok : EXIT.failed));
}

const { stdin, stdout, stderr, env, argv } = process;
process.exitCode = await run(
  argv.slice(2),
  { stdin, stdout, stderr, env },
  { signal: interrupted.signal, version: VERSION },
);
