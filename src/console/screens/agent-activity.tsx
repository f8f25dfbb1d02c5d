import { useLiveRecords } from "../live.ts";
import { plural } from "../text.ts";
import { Button, Card, Empty, Rows } from "../ui.tsx";
import { RecordTable } from "./record-table.tsx";

/** What an agent does, as it does it. */
export function AgentActivity({ id }: { id: string }) {
  const list = useLiveRecords(`activity of ${id}`, { agent_id: id });
  return (
    <Card
      title="Activity"
      pad={false}
      action={
        <span class="row">
          <Button small aria-pressed={list.isLive} onClick={() => list.setLive(!list.isLive)}>
            {list.isLive ? "Pause" : "Go on"}
          </Button>
          <a href={`/console/activity?agent_id=${encodeURIComponent(id)}`}>All of it</a>
        </span>
      }
    >
      <p class="visually-hidden" aria-live="polite">
        {list.fresh.size > 0 && `${plural(list.fresh.size, "new record")}.`}
      </p>
      <Rows of={list} empty={<Empty title="It has done nothing yet.">Its calls appear here as they are made.</Empty>}>
        {(records) => <RecordTable records={records} fresh={list.fresh} />}
      </Rows>
    </Card>
  );
}
