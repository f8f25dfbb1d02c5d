import type { Catalogue } from "../permissions/catalogue.ts";
import { nearestName } from "../validation/nearest-name.ts";
import type { LimitDefinition } from "./limits.ts";
import { parseRule, type Rule } from "./rule.ts";
import type { Preset, ServiceDefinition } from "./service-definition.ts";

/** What an operator adds to a built-in service. */
export interface Additions {
  /** The names of the presets that are on. */
  readonly presets?: readonly string[] | undefined;
  readonly resources?: Readonly<Record<string, readonly string[]>> | undefined;
  readonly rules?: readonly string[] | undefined;
  /** Fields that grants may limit, and further rules at which those of the service may be. */
  readonly limits?: Readonly<Record<string, LimitDefinition>> | undefined;
}

type Resources = Catalogue[string];

/**
 * Returns a built-in service with the presets that are on and the operator's own resources and rules, and its part of the catalogue with
 * theirs. Nothing is taken away, and no rule is checked.
 *
 * @returns also the names that are not of a preset, each with its place in the list and what to write instead.
 */
export function extendService(
  definition: ServiceDefinition,
  resources: Resources,
  { presets: names = [], resources: own = {}, rules = [], limits = {} }: Additions,
): { definition: ServiceDefinition; resources: Resources; unknown: { index: number; message: string }[] } {
  const known = definition.presets ?? {};
  const isKnown = (name: string): boolean => Object.hasOwn(known, name);
  const presets: Preset[] = [...new Set(names)].filter(isKnown).map((name) => known[name]!);
  return {
    definition: {
      ...definition,
      rules: [...definition.rules, ...presets.flatMap((preset) => preset.rules), ...rules],
      limits: merge([definition.limits ?? {}, limits], ([first, ...more]) => more.reduce(mergeLimits, first!)),
      fileRules: presets.flatMap((preset) => preset.fileRules ?? []),
      embeds: merge([definition.embeds ?? {}, ...presets.map((preset) => preset.embeds ?? {})], (all) =>
        Object.assign({}, ...all),
      ),
    },
    resources: merge([resources, ...presets.map((preset) => preset.resources), own], (all) => [...new Set(all.flat())]),
    unknown: names.flatMap((name, index) =>
      isKnown(name) ? [] : [{ index, message: unknownPreset(name, Object.keys(known)) }],
    ),
  };
}

const mergeLimits = (one: LimitDefinition, { alone = [], also = {} }: LimitDefinition): LimitDefinition => ({
  ...one,
  alone: [...(one.alone ?? []), ...alone],
  also: { ...one.also, ...also },
});

function merge<Value>(
  tables: readonly Readonly<Record<string, Value>>[],
  join: (values: readonly Value[]) => Value,
): Readonly<Record<string, Value>> {
  const keys = new Set(tables.flatMap((table) => Object.keys(table)));
  const valuesOf = (key: string): Value[] =>
    tables.flatMap((table) => (Object.hasOwn(table, key) ? [table[key]!] : []));
  return Object.fromEntries([...keys].map((key) => [key, join(valuesOf(key))]));
}

function unknownPreset(name: string, known: readonly string[]): string {
  const nearest = nearestName(name, known);
  return `is no preset.${nearest === undefined ? "" : ` Did you mean ${nearest}?`} Known are ${known.join(", ")}.`;
}

/** Returns what no rule of a service may match, with each line as it is written. */
export function refusedRules({ name, refused = [] }: ServiceDefinition): Rule[] {
  return refused.flatMap((line) =>
    parseRule(`${line} refused:any`, name).map(({ methods, segments, required }): Rule => ({
      source: line,
      methods,
      segments,
      slash: "either",
      required,
    })),
  );
}
