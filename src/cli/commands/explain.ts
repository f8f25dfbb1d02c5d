import type { ExplainRequest } from "../../client/wire.ts";
import { show, type Command } from "../command.ts";
import { EXIT, usage } from "../failure.ts";
import { fields } from "../table.ts";
import { readStdin } from "../terminal.ts";
import { visible } from "../visible.ts";

const MAX_BODY_LENGTH = 1_000_000;

function readHeader(line: string): [string, string] {
  const at = line.indexOf(":");
  if (at < 1) throw usage("--header must be 'NAME: VALUE'.");
  return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
}

export const explainCommands: readonly Command[] = [
  {
    path: ["explain"],
    takes: "SERVICE METHOD /PATH",
    words: { min: 3, max: 3 },
    summary: "Say what the gateway would do with a request, and why, without sending it",
    options: ["id", "permission", "header", "body"],
    async run(call) {
      const { client } = await call.connect();
      const [service = "", method = "", path = ""] = call.words;
      const { values, terminal } = call;
      const body = values.text("body") === "-" ? await readStdin(terminal, MAX_BODY_LENGTH) : values.text("body");
      const permissions = values.list("permission") as ExplainRequest["permissions"];
      const answer = await client.explain(
        {
          service,
          method: method.toUpperCase(),
          path,
          permissions,
          agent_id: values.text("id"),
          headers: Object.fromEntries(values.list("header").map(readHeader)),
          body,
        },
        call,
      );
      show(call, answer, () => {
        const broken = answer.violations.map(
          ({ field, actual }) => `  ${visible(field)} is ${visible(String(actual))}`,
        );
        return [
          fields({
            decision: answer.decision,
            code: answer.code,
            needs: answer.all_required.join(" "),
            lacks: answer.lacking.join(" "),
            rule: answer.rule,
            "may be limited by": answer.limitable.join(" "),
          }),
          ...broken,
          "",
          visible(answer.message),
        ].join("\n");
      });
      // A refusal is an answer: the command has succeeded, and a program reads the decision. It may also ask by the exit code.
      return answer.decision === "allow" ? EXIT.ok : EXIT.denied;
    },
  },
];
