import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { explain } from "../src/policy/explain.ts";
import { loadServices } from "../src/policy/services.ts";
import { BUILT_IN_CATALOGUE } from "../src/permissions/catalogue.ts";
import { ROOT } from "./local.ts";

/** One operation of a vendor's API. */
export interface Operation {
  readonly method: string;
  /** With parameters in braces. */
  readonly path: string;
  /** The vendor's own group for it. */
  readonly group: string;
  /** Permissions joined by `+`, or `uncovered`. */
  readonly classification: string;
}

export const SERVICES = Object.keys(BUILT_IN_CATALOGUE);

const { services, catalogue } = loadServices(new Map(), BUILT_IN_CATALOGUE);

const fileOf = (service: string): string => join(ROOT, "vendor/operations", `${service}.txt`);

export function readOperations(service: string): Operation[] {
  return readFileSync(fileOf(service), "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => {
      const [operation = "", group = "", classification = ""] = line.split(" | ");
      const [method = "", path = ""] = operation.split(" ");
      return { method, path, group, classification };
    });
}

export function writeOperations(service: string, operations: readonly Omit<Operation, "classification">[]): void {
  const lines = operations.map((one) => `${one.method} ${one.path} | ${one.group} | ${classify(service, one)}\n`);
  writeFileSync(fileOf(service), [...new Set(lines)].toSorted().join(""));
}

/** Returns the permissions that the gateway requires for an operation, joined by `+`, or `uncovered`. */
export function classify(service: string, { method, path }: { method: string; path: string }): string {
  const { explanation } = explain({ services, catalogue }, { service, method, path: sampleOf(service, path) });
  if (explanation.decision === "refuse") return `refused (${explanation.code})`;
  return explanation.required === null ? "uncovered" : explanation.all_required.join("+");
}

/** Fills in a value of the right form for each parameter of a path. */
function sampleOf(service: string, path: string): string {
  return path.replace(/\{([^{}]*)\}/g, (_, name: string) => {
    if (service === "salesforce")
      return /version/.test(name) ? "v61.0" : /field/.test(name) ? "Key__c" : "001000000000001AAA";
    if (/version/.test(name)) return "2026-03";
    if (/objecttype/i.test(name)) return "tickets";
    return /uuid/.test(name) ? "00000000-0000-4000-8000-000000000000" : "1";
  });
}
