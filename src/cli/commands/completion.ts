import type { Command } from "../command.ts";
import { usage } from "../failure.ts";
import type { Option } from "../arguments.ts";
import { COMMON, OPTIONS } from "../options.ts";

/** What each prefix of words may be followed by. */
function nextWords(commands: readonly Command[]): Map<string, Set<string>> {
  const next = new Map<string, Set<string>>();
  for (const { path, takes } of commands) {
    // What a command takes is among its words where it is one of a few, such as `bash|zsh`.
    const choices = takes.includes("|") ? takes.split("|") : [];
    if (choices.length > 0) next.set(path.join(" "), new Set(choices));
    path.forEach((word, at) => {
      const prefix = path.slice(0, at).join(" ");
      next.set(prefix, (next.get(prefix) ?? new Set()).add(word));
    });
  }
  return next;
}

const optionsOf = ({ options }: Command): string => [...options, ...COMMON].map((name) => `--${name}`).join(" ");

const withValues = Object.entries(OPTIONS as Readonly<Record<string, Option>>).flatMap(([name, { values }]) =>
  values ? [{ name, values }] : [],
);
const takingValue = Object.entries(OPTIONS as Readonly<Record<string, Option>>).flatMap(([name, { type }]) =>
  type === "switch" ? [] : [`--${name}`],
);

/** The words are this program's own, so nothing in them needs quoting. */
function bash(commands: readonly Command[]): string {
  const words = [...nextWords(commands)]
    .map(([prefix, next]) => `    "${prefix}") words="${[...next].join(" ")}" ;;`)
    .join("\n");
  const options = commands
    .map((command) => `    "${command.path.join(" ")}"*) options="${optionsOf(command)}" ;;`)
    .toSorted((one, other) => other.length - one.length)
    .join("\n");
  const values = withValues
    .map(({ name, values }) => `    --${name}) COMPREPLY=($(compgen -W "${values.join(" ")}" -- "$word")); return ;;`)
    .join("\n");
  return `# Completion of agentauth for bash: eval "$(agentauth completion bash)"
_agentauth() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" prefix="" words="" options="" skip="" i
  case "$before" in
${values}
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [ -n "$skip" ]; then skip=""; continue; fi
    case " ${takingValue.join(" ")} " in *" \${COMP_WORDS[i]} "*) skip=1; continue ;; esac
    case "\${COMP_WORDS[i]}" in -*) continue ;; esac
    prefix="\${prefix:+$prefix }\${COMP_WORDS[i]}"
  done
  case "$prefix" in
${words}
  esac
  case "$prefix" in
${options}
  esac
  COMPREPLY=($(compgen -W "$words $options" -- "$word"))
}
complete -o default -F _agentauth agentauth
`;
}

const zsh = (
  commands: readonly Command[],
): string => `# Completion of agentauth for zsh: eval "$(agentauth completion zsh)"
# A shell whose .zshrc has not begun completion has no compdef.
if ! whence compdef >/dev/null; then autoload -Uz compinit && compinit -i -D; fi
autoload -U +X bashcompinit && bashcompinit
${bash(commands)}`;

/** @param commands a function, because the list has this command too. */
export const completionCommand = (commands: () => readonly Command[]): Command => ({
  path: ["completion"],
  takes: "bash|zsh",
  words: { min: 1, max: 1 },
  summary: 'Print the completion of a shell: eval "$(agentauth completion bash)"',
  options: [],
  async run(call) {
    const [shell] = call.words;
    if (shell !== "bash" && shell !== "zsh") throw usage("There is completion for bash and for zsh.");
    call.print((shell === "bash" ? bash : zsh)(commands()).trimEnd());
  },
});
