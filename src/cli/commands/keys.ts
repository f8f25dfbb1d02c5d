import { readNumber } from "../arguments.ts";
import { show, type Command } from "../command.ts";
import { fields, table } from "../table.ts";
import { noteMore, readRows, wantedRows } from "../paging.ts";
import { confirm } from "../terminal.ts";
import { visible } from "../visible.ts";

export const keyCommands: readonly Command[] = [
  {
    path: ["keys", "list"],
    takes: "AGENT_ID",
    words: { min: 1, max: 1 },
    summary: "List the keys of an agent, without what is secret",
    options: ["limit", "all"],
    async run(call) {
      const { client } = await call.connect();
      const [id = ""] = call.words;
      const { rows, hasMore } = await readRows(wantedRows(call), 200, async (limit, cursor) => {
        const page = await client.listAgentKeys(id, { limit, cursor }, call);
        return { rows: page.keys, next: page.next_cursor };
      });
      show(call, { keys: rows, has_more: hasMore }, () =>
        rows.length === 0
          ? "The agent has no valid key."
          : table(
              ["ID", "TYPE", "LABEL", "ENDS WITH", "SINCE", "EXPIRES", "LAST USED"],
              rows.map(({ id: key, type, label, hint, created_at, expires_at, last_used_at }) => [
                key,
                type,
                label,
                hint,
                created_at.slice(0, 10),
                expires_at,
                last_used_at,
              ]),
              call.terminal.stdout.columns,
            ),
      );
      noteMore(call, hasMore);
    },
  },
  {
    path: ["keys", "create"],
    takes: "AGENT_ID",
    words: { min: 1, max: 1 },
    summary: "Give an agent another API key, which is shown once",
    options: ["label", "key-expires"],
    async run(call) {
      const { client } = await call.connect();
      const [id = ""] = call.words;
      const { values } = call;
      const answer = await client.createAgentKey(
        id,
        {
          label: values.text("label"),
          expires_in: readNumber(values.text("key-expires"), "key-expires", { min: 60, max: 157_680_000 }),
        },
        call,
      );
      show(call, answer, () =>
        fields({ id: answer.key.id, "API key": answer.credentials.api_key, expires: answer.key.expires_at ?? "never" }),
      );
      if (!call.isJson) call.note("The API key is shown once. Keep it where the agent reads it, and nowhere else.");
    },
  },
  {
    path: ["keys", "delete"],
    takes: "AGENT_ID KEY_ID",
    words: { min: 2, max: 2 },
    summary: "End a key of an agent, and the sessions that it opened",
    options: ["yes"],
    async run(call) {
      const { client } = await call.connect();
      const [id = "", key = ""] = call.words;
      await confirm(call.terminal, `Key ${visible(key)} never works again. End it?`, {
        isConfirmed: call.values.has("yes"),
      });
      const answer = await client.deleteAgentKey(id, key, call);
      show(call, answer, () => visible(answer.message));
    },
  },
];
