import { parseArguments, refuseSecrets, type Option } from "./arguments.ts";
import type { Call, Command } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { connectWith, credentialOf, notSignedIn } from "./connection.ts";
import { deploymentUrl } from "./credentials.ts";
import { EXIT, usage, type ExitCode } from "./failure.ts";
import { helpOf, overview, usageOf } from "./help.ts";
import { COMMON, OPTIONS, type OptionName } from "./options.ts";
import { describe, problemOf } from "./problem.ts";
import type { Terminal } from "./terminal.ts";
import { visible, visibleJson } from "./visible.ts";

/** The command that these words begin with: the longest name that fits. */
function findCommand(words: readonly string[]): Command | undefined {
  return COMMANDS.filter(({ path }) => path.every((word, at) => words[at] === word)).toSorted(
    (one, other) => other.path.length - one.path.length,
  )[0];
}

/**
 * Runs one command.
 *
 * @param argv the arguments, without those that name the program.
 * @param options.signal aborted by Ctrl-C.
 * @param options.timeout how long one answer of the deployment may take, in milliseconds.
 * @returns what the process ends with.
 */
export async function run(
  argv: readonly string[],
  terminal: Terminal,
  { signal, version, timeout = 30_000 }: { signal: AbortSignal; version: string; timeout?: number },
): Promise<ExitCode> {
  const isJson = argv.includes("--json");
  try {
    return await runCommand(argv, terminal, { signal, version, timeout, isJson });
  } catch (error) {
    const problem = problemOf(error, signal);
    const { exit, code, message, status, requestId, details } = problem;
    terminal.stderr.write(
      isJson
        ? `${visibleJson({ error: code, message, exit, status, request_id: requestId, details })}\n`
        : `${describe(problem)}\n`,
    );
    return exit;
  }
}

async function runCommand(
  argv: readonly string[],
  terminal: Terminal,
  { signal, version, timeout, isJson }: { signal: AbortSignal; version: string; timeout: number; isJson: boolean },
): Promise<ExitCode> {
  refuseSecrets(argv);
  const options: Readonly<Record<string, Option>> = OPTIONS;
  const { words, values, given } = parseArguments(argv, options);
  const print = (text: string): void => void terminal.stdout.write(`${text}\n`);
  if (values.has("version")) {
    print(version);
    return EXIT.ok;
  }
  const [first, ...topic] = words;
  if (first === undefined || first === "help") {
    const command = findCommand(topic);
    if (topic.length > 0 && !command) throw unknownCommand(topic);
    print(command ? helpOf(command) : overview());
    return first === undefined && !values.has("help") ? EXIT.usage : EXIT.ok;
  }
  const command = findCommand(words);
  if (!command) {
    if (values.has("help") && COMMANDS.some(({ path }) => path[0] === first)) {
      print(overview(first));
      return EXIT.ok;
    }
    throw unknownCommand(words);
  }
  if (values.has("help")) {
    print(helpOf(command));
    return EXIT.ok;
  }
  const name = command.path.join(" ");
  const foreign = given.find((one) => ![...COMMON, ...command.options].includes(one as OptionName));
  if (foreign !== undefined) {
    throw usage(
      `\`agentauth ${name}\` has no option --${foreign}. \`agentauth help ${name}\` lists those that it has.`,
    );
  }
  for (const one of given) {
    const { values: allowed } = options[one]!;
    const value = values.text(one);
    if (allowed && value !== undefined && !allowed.includes(value)) {
      throw usage(`--${one} must be one of ${allowed.join(", ")}.`);
    }
  }
  const rest = words.slice(command.path.length);
  if (rest.length < command.words.min || rest.length > command.words.max) {
    throw usage(`It is used as: agentauth ${usageOf(command)}. \`agentauth help ${name}\` says more.`);
  }
  const url = (): Promise<string> => deploymentUrl(terminal.env, values.text("url"));
  const call: Call = {
    terminal,
    words: rest,
    values,
    isJson,
    signal,
    timeout,
    url,
    async connect({ anonymous = false } = {}) {
      const at = await url();
      const credential = await credentialOf(terminal, at);
      if (!credential && !anonymous) throw notSignedIn();
      return connectWith(terminal, { url: at, credential, signal, timeout });
    },
    print,
    printJson: (value) => print(visibleJson(value, terminal.stdout.isTTY ? 2 : undefined)),
    note: (text) => void terminal.stderr.write(`${text}\n`),
  };
  return (await command.run(call)) ?? EXIT.ok;
}

function unknownCommand(words: readonly string[]): Error {
  const named = words.slice(0, 2).join(" ");
  const family = COMMANDS.filter(({ path }) => path[0] === words[0]);
  const known = family.length > 0 ? `There are: ${family.map(({ path }) => path.join(" ")).join(", ")}.` : "";
  return usage(
    `There is no command ${visible(named).slice(0, 80)}. ${known || "`agentauth help` lists the commands."}`,
  );
}
