import { show, type Command } from "../command.ts";
import { noteMore, readRows, wantedRows } from "../paging.ts";
import { table } from "../table.ts";
import { visible } from "../visible.ts";

export const sessionCommands: readonly Command[] = [
  {
    path: ["sessions", "list"],
    takes: "AGENT_ID",
    words: { min: 1, max: 1 },
    summary: "List the sessions of an agent",
    options: ["limit", "all"],
    async run(call) {
      const { client } = await call.connect();
      const [id = ""] = call.words;
      const { rows, hasMore } = await readRows(wantedRows(call), 200, async (limit, cursor) => {
        const page = await client.listAgentSessions(id, { limit, cursor }, call);
        return { rows: page.sessions, next: page.next_cursor };
      });
      show(call, { sessions: rows, has_more: hasMore }, () =>
        rows.length === 0
          ? "The agent has no session."
          : table(
              ["ID", "KEY", "SINCE", "LAST REFRESHED", "EXPIRES", "ADDRESS"],
              rows.map(({ id: session, key_id, created_at, last_refreshed_at, expires_at, ip_address }) => [
                session,
                key_id,
                created_at,
                last_refreshed_at,
                expires_at,
                ip_address,
              ]),
              call.terminal.stdout.columns,
            ),
      );
      noteMore(call, hasMore);
    },
  },
  {
    path: ["sessions", "end"],
    takes: "AGENT_ID [SESSION_ID]",
    words: { min: 1, max: 2 },
    summary: "End a session of an agent, or every token of it",
    options: [],
    async run(call) {
      const { client } = await call.connect();
      const [id = "", session] = call.words;
      const answer =
        session === undefined
          ? await client.revokeAgentTokens(id, call)
          : await client.endAgentSession(id, session, call);
      show(call, answer, () => visible(answer.message));
    },
  },
];
