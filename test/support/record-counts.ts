import { expect } from "vitest";
import { readCounts } from "../../src/audit/store/record-counts.ts";

type Row = Readonly<Record<"agent_id" | "id" | "outcome", string>>;
type Count = Readonly<Record<"is_success" | "total", number>>;

/**
 * Expects that readers are told of as many records of each agent, and of everybody, by whether they are successes, as there are.
 *
 * @param agents those that may have counts; of others only those that have records are looked at.
 */
export async function expectCountsToAgree(db: D1Database, agents: readonly string[] = []): Promise<void> {
  const { results: named } = await db.prepare("SELECT DISTINCT agent_id FROM records").all<Row>();
  const whose = [...new Set(["*", "", ...agents, ...named.map(({ agent_id }) => agent_id)])];
  const [rows, ...counts] = await db.batch<Row & Count>([
    db.prepare("SELECT agent_id, id, outcome FROM records ORDER BY part"),
    ...whose.map((agentId) => readCounts(db, agentId)),
  ]);
  // Of each record, its last part is what is seen.
  const seen = [...new Map(rows!.results.map((row) => [`${row.agent_id} ${row.id}`, row])).values()];
  const told = whose.map((agentId, index) => [agentId, ...[1, 0].map((one) => sumOf(counts[index]!.results, one))]);
  const expected = whose.map((agentId) => {
    const own = seen.filter((row) => agentId === "*" || row.agent_id === agentId);
    const successes = own.filter(({ outcome }) => outcome === "success").length;
    return [agentId, successes, own.length - successes];
  });
  expect(told).toEqual(expected);
}

const sumOf = (counts: readonly Count[], isSuccess: number): number =>
  counts.filter(({ is_success }) => is_success === isSuccess).reduce((sum, { total }) => sum + total, 0);
