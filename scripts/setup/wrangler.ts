import { spawnSync } from "node:child_process";
import { fail, ROOT } from "../local.ts";

/** A command of wrangler that did not succeed, with what it printed. */
class CommandFailed extends Error {
  readonly output: string;
  constructor(output: string) {
    super("a command of wrangler failed");
    this.output = output;
  }
}

interface Options {
  readonly environment: string;
  /** Another file than wrangler.toml. */
  readonly config?: string | undefined;
  /** Prints commands, and runs none. */
  readonly isDryRun: boolean;
}

/** Runs wrangler for one environment. Each command is shown before it runs; what a command is given by standard input is not. */
export class Wrangler {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /**
   * Runs a command that changes nothing.
   *
   * @param otherwise what counts if the command fails and its output contains `ifPrinted`.
   * @returns what it printed; of a dry run `dry`.
   */
  ask(
    args: readonly string[],
    { dry, otherwise }: { dry: string; otherwise?: { ifPrinted: RegExp; value: string } },
  ): string {
    this.#show(args);
    if (this.#options.isDryRun) return dry;
    try {
      return this.#run(args);
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
      if (otherwise?.ifPrinted.test(error.output)) return otherwise.value;
      return this.#giveUp(args, error.output);
    }
  }

  /** Runs a command that changes something. @param input what it reads from its standard input, and what that is called. */
  change(args: readonly string[], input?: { readonly text: string; readonly name: string }): void {
    this.#show(args, input ? `reads ${input.name} from its standard input` : undefined);
    if (this.#options.isDryRun) return;
    try {
      this.#run(args, input?.text);
    } catch (error) {
      if (error instanceof CommandFailed) this.#giveUp(args, error.output);
      throw error;
    }
  }

  /** Runs a command whose output the operator follows. */
  watch(args: readonly string[]): void {
    this.#show(args);
    if (this.#options.isDryRun) return;
    const { status, error } = spawnSync("wrangler", this.#withEnvironment(args), {
      cwd: ROOT,
      env: QUIET,
      stdio: ["ignore", "inherit", "inherit"],
    });
    if (error) notInstalled();
    if (status !== 0) this.#giveUp(args, "");
  }

  #run(args: readonly string[], input = ""): string {
    const { status, stdout, stderr, error } = spawnSync("wrangler", this.#withEnvironment(args), {
      cwd: ROOT,
      env: QUIET,
      // Never a terminal: wrangler asks nothing, and takes what it would have proposed.
      input,
      encoding: "utf8",
    });
    if (error) notInstalled();
    if (status !== 0) throw new CommandFailed(`${stdout}\n${stderr}`);
    return stdout;
  }

  #withEnvironment(args: readonly string[]): string[] {
    const { config } = this.#options;
    // A KV namespace would be called `production-…`: wrangler puts the environment before the name that it is given.
    const environment = args[0] === "kv" ? "" : this.#options.environment;
    return [...args, `--env=${environment}`, ...(config === undefined ? [] : [`--config=${config}`])];
  }

  #show(args: readonly string[], remark?: string): void {
    const quoted = this.#withEnvironment(args).map((arg) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : JSON.stringify(arg)));
    console.log(`  $ npx wrangler ${quoted.join(" ")}${remark ? `   # ${remark}` : ""}`);
  }

  #giveUp(args: readonly string[], output: string): never {
    return fail(
      `${output.trim()}\n\nwrangler ${args.slice(0, 3).join(" ")} failed. What was done before stands. Correct what it says above, and run the same command again: it goes on from here.`,
    );
  }
}

const QUIET = { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", NO_COLOR: "1" };

const notInstalled = (): never => fail("wrangler is not installed. Run `npm ci` first, and this with `npm run setup`.");
