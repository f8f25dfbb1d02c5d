import type { Option } from "./arguments.ts";
import type { Command } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { EXAMPLES } from "./examples.ts";
import { COMMON, OPTIONS, type OptionName } from "./options.ts";

const lines = (rows: readonly (readonly [string, string])[]): string => {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join("\n");
};

/** A command with the words that it takes. */
export const usageOf = ({ path, takes }: Command): string => [...path, takes].filter(Boolean).join(" ");

/** Every command with a line of what it does. @param family only those that begin with this word. */
export function overview(family?: string): string {
  const shown = COMMANDS.filter(({ path }) => family === undefined || path[0] === family);
  return `agentauth COMMAND [OPTION…]

${lines(shown.map((command) => [usageOf(command), command.summary]))}

\`agentauth help COMMAND\` says more about one. Every command takes:

${optionLines(COMMON)}`;
}

const optionLines = (names: readonly OptionName[]): string =>
  lines(
    names.map((name) => {
      const option: Option = OPTIONS[name];
      const choices = option.values ? ` One of ${option.values.join(", ")}.` : "";
      return [`--${name}${option.value ? ` ${option.value}` : ""}`, option.help + choices];
    }),
  );

export function helpOf(command: Command): string {
  return `agentauth ${usageOf(command)} [OPTION…]

${command.summary}.

  agentauth ${[...command.path, EXAMPLES[command.path.join(" ")]].filter(Boolean).join(" ")}

${optionLines([...command.options, ...COMMON])}`;
}
