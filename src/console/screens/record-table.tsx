import type { AuditRecord } from "../../client/wire.ts";
import { actorOf, detailOf, OUTCOME_TONES } from "../records.ts";
import { segment } from "../request.ts";
import { query } from "../router.ts";
import { Badge, Quoted, Time } from "../ui.tsx";

const RELATED = "/console/activity";

/** A link to a record that keeps the filters of the screen. */
const hrefOf = (id: string): string => {
  const filters = location.pathname.startsWith(RELATED) ? query.value.toString() : "";
  return `${RELATED}/${segment(id)}${filters && `?${filters}`}`;
};

export const OutcomeBadge = ({ record: { outcome, status } }: { record: AuditRecord }) => (
  <Badge tone={OUTCOME_TONES[outcome]}>
    {status === null ? "" : `${status} `}
    {outcome}
  </Badge>
);

/** Records of the log. @param fresh ids that have just come. */
export function RecordTable({ records, fresh }: { records: readonly AuditRecord[]; fresh?: ReadonlySet<string> }) {
  return (
    <table class="stack">
      <thead>
        <tr>
          <th class="hide">Time</th>
          <th class="actor">Who and what</th>
          <th>Detail</th>
          <th class="num hide">Took</th>
          <th class="num">Outcome</th>
        </tr>
      </thead>
      <tbody>
        {records.map((record) => (
          <tr key={record.id} class={fresh?.has(record.id) ? "fresh" : undefined}>
            <td class="hide nowrap">
              <Time at={record.at} />
            </td>
            <td>
              <a class="t" href={hrefOf(record.id)}>
                <Quoted text={actorOf(record)} most={80} brief />
              </a>
              <div class="s">
                <span class="mono nowrap">{record.action}</span>
                <span class="narrow">
                  {" "}
                  · <Time at={record.at} />
                </span>
              </div>
            </td>
            <td class="detail mono">
              <span class="clip">
                <Quoted text={detailOf(record).slice(0, 300)} />
              </span>
            </td>
            <td class="num mono hide">{record.duration_ms === null ? "" : `${record.duration_ms} ms`}</td>
            <td class="num">
              <OutcomeBadge record={record} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
