import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { explain, type Policy } from "../src/policy/explain.ts";
import { BUILT_IN_SERVICES, loadServices } from "../src/policy/services.ts";
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
  /** The same with every preset turned on. */
  readonly withPresets: string;
}

export const SERVICES = Object.keys(BUILT_IN_CATALOGUE);

/** The names of the presets of a service. */
export const presetsOf = (service: string): string[] =>
  Object.keys(BUILT_IN_SERVICES.find(({ name }) => name === service)?.presets ?? {});

const withoutPresets = loadServices(new Map(), BUILT_IN_CATALOGUE);
const withPresets = loadServices(
  new Map(SERVICES.map((service) => [service, { presets: presetsOf(service) }])),
  BUILT_IN_CATALOGUE,
);

const fileOf = (service: string): string => join(ROOT, "vendor/operations", `${service}.txt`);

export function readOperations(service: string): Operation[] {
  return readFileSync(fileOf(service), "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => {
      const [operation = "", group = "", classification = "", presets = classification] = line.split(" | ");
      const [method = "", path = ""] = operation.split(" ");
      return { method, path, group, classification, withPresets: presets };
    });
}

/** Writes a line for each operation: what it needs with every preset stands behind what it needs without, where it differs. */
export function writeOperations(
  service: string,
  operations: readonly Pick<Operation, "method" | "path" | "group">[],
): void {
  const lines = operations.map((one) => {
    const needs = [...new Set([classify(service, one), classifyWithPresets(service, one)])];
    return `${one.method} ${one.path} | ${one.group} | ${needs.join(" | ")}\n`;
  });
  writeFileSync(fileOf(service), [...new Set(lines)].toSorted().join(""));
}

/** Returns the permissions that the gateway requires for an operation, joined by `+`, or `uncovered`. */
export const classify = (service: string, one: Pick<Operation, "method" | "path">): string =>
  classifyBy(withoutPresets, service, one);

/** The same with every preset turned on. */
export const classifyWithPresets = (service: string, one: Pick<Operation, "method" | "path">): string =>
  classifyBy(withPresets, service, one);

/** The same with one preset turned on. */
export const classifyWithPreset = (
  service: string,
  preset: string,
): ((one: Pick<Operation, "method" | "path">) => string) => {
  const policy = loadServices(new Map([[service, { presets: [preset] }]]), BUILT_IN_CATALOGUE);
  return (one) => classifyBy(policy, service, one);
};

function classifyBy(policy: Policy, service: string, { method, path }: Pick<Operation, "method" | "path">): string {
  const { explanation } = explain(policy, { service, method, path: sampleOf(service, path) });
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
    if (name === "archive_format") return "zip";
    return /uuid/.test(name) ? "00000000-0000-4000-8000-000000000000" : "1";
  });
}
