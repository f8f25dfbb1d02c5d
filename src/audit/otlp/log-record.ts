import type { ArchivedRow } from "../archive/archived-row.ts";

/** A value of an attribute in OTLP's JSON encoding, in which 64-bit integers are strings. */
type AnyValue = { readonly stringValue: string } | { readonly intValue: string };

interface KeyValue {
  readonly key: string;
  readonly value: AnyValue;
}

/** A LogRecord of opentelemetry.proto.logs.v1, in OTLP's JSON encoding. */
export interface LogRecord {
  readonly timeUnixNano: string;
  readonly observedTimeUnixNano: string;
  readonly severityNumber: number;
  readonly severityText: string;
  readonly eventName: string;
  readonly body: AnyValue;
  readonly attributes: readonly KeyValue[];
}

/** https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber */
const SEVERITIES: Readonly<Record<string, readonly [number: number, text: string]>> = {
  success: [9, "INFO"],
  denied: [13, "WARN"],
  unknown: [13, "WARN"],
  failed: [17, "ERROR"],
};

/**
 * The attribute of each column. Where the semantic conventions have a name, it is that:
 * https://opentelemetry.io/docs/specs/semconv/registry/attributes/
 */
const ATTRIBUTES: Readonly<Partial<Record<keyof ArchivedRow, string>>> = {
  id: "log.record.uid",
  ip_address: "client.address",
  method: "http.request.method",
  path: "url.path",
  status: "http.response.status_code",
  bytes_in: "http.request.body.size",
  bytes_out: "http.response.body.size",
  action: "agentauth.action",
  outcome: "agentauth.outcome",
  agent_id: "agentauth.agent.id",
  actor_type: "agentauth.actor.type",
  actor_id: "agentauth.actor.id",
  actor_name: "agentauth.actor.name",
  act: "agentauth.act",
  request_id: "agentauth.request.id",
  key_id: "agentauth.key.id",
  session_id: "agentauth.session.id",
  service: "agentauth.service",
  rule: "agentauth.rule",
  permission: "agentauth.permission",
  upstream_status: "agentauth.upstream.status_code",
  duration_ms: "agentauth.duration_ms",
  count: "agentauth.count",
  before: "agentauth.before",
  after: "agentauth.after",
};

/** The prefix of an event's name, before the action. */
const EVENT_PREFIX = "agentauth.";

/** A record of the audit log as a log record of OTLP. What does not apply has no attribute. @param now milliseconds. */
export function toLogRecord(row: ArchivedRow, now: number): LogRecord {
  const [severityNumber, severityText] = SEVERITIES[row.outcome] ?? SEVERITIES.unknown!;
  const attributes = Object.entries(ATTRIBUTES).flatMap(([column, key]) => {
    const value = row[column as keyof ArchivedRow];
    return value === null || value === undefined || value === "" ? [] : [{ key, value: toValue(value) }];
  });
  return {
    timeUnixNano: nanoseconds(row.at),
    observedTimeUnixNano: nanoseconds(now),
    severityNumber,
    severityText,
    eventName: EVENT_PREFIX + row.action,
    body: { stringValue: row.message ?? `${row.action} ${row.outcome}` },
    attributes,
  };
}

const nanoseconds = (ms: number): string => `${ms}000000`;

const toValue = (value: string | number): AnyValue =>
  typeof value === "number" ? { intValue: String(value) } : { stringValue: value };

/** The body of a request to `/v1/logs`: ExportLogsServiceRequest of opentelemetry.proto.collector.logs.v1. */
export const toExportRequest = (records: readonly LogRecord[]) => ({
  resourceLogs: [
    {
      resource: { attributes: [{ key: "service.name", value: { stringValue: "agentauth" } }] },
      scopeLogs: [{ scope: { name: "agentauth.audit" }, logRecords: records }],
    },
  ],
});
