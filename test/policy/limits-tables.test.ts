import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { unlimited, type Scalar, type Where } from "../../src/permissions/grant.ts";
import { bodyTreatment, checkBody, type BodyRules } from "../../src/policy/body.ts";
import { findGrants, judgeLimits } from "../../src/policy/judge.ts";
import type { LimitDefinition } from "../../src/policy/limits.ts";
import { resolveRequest } from "../../src/policy/resolve.ts";
import { BUILT_IN_SERVICES, loadServices } from "../../src/policy/services.ts";
import { extents } from "../support/extents.ts";

const { services } = loadServices(new Map(), BUILT_IN_CATALOGUE);

/**
 * The reviewed table of the rules at which a limited grant allows nothing, with the reason. Every other rule is in the service's own
 * table, which says what else names the same object. A new rule is in neither: decide where it belongs.
 */
const DENIED: Readonly<Record<string, readonly (readonly [rules: RegExp, because: string])[]>> = {
  github: [
    [/^\S+ \/repositories\/\{/, "the number is another name of a repository"],
    [/ \/(?:issues|user\/issues|user\/repos|repositories) /, "reaches every repository of the credential"],
    [/ \/(?:organizations|user)\/\{\w+:int\}\//, "the number is another name of an owner"],
    [/ \/(?:orgs\/\{org\}|users\/\{username\})\/repos /, "reaches every repository of an owner, or creates one"],
    [/\/(?:generate|forks) repos$/, "names another repository in its body, or answers with other repositories"],
    [/\/\{what:merge-upstream\|merges\} /, "merges from another repository, or by names in the body"],
    [/\/compare\//, "may name another repository: owner:repo:ref"],
    [/\/commits\/\{ref:text!/, "a ref may hold what names another repository"],
    [/\/contents\/(?:\{path\.\.\.\}\/)? repos$/, "the same folder with a slash at its end"],
    [
      /\/(?:dependencies|sub_issues?|suggestions)(?:[/ ]|$)|\{part:events\|parent/,
      "names an issue by its global id, or shows one of another repository",
    ],
  ],
  hubspot: [
    [/\/associations\//, "names a second object"],
    [/\/batch\/|\/\{what:merge\|gdpr-delete\} /, "names objects in its body"],
    [/\/search |^GET \/crm\/(?:v3\/objects|objects\/[^/]+)\/\{[^}]+\} /, "reaches every object of the type"],
  ],
  salesforce: [
    [/\/describe /, "describes the object, and names no record"],
    [/\/\{field:custom\}\//, "names a record by another id"],
  ],
  slack: [
    [/chat\.unfurl /, "may name a message by another id than its channel's"],
    [/conversations\.(?:create|list|open) /, "names no channel, or one by its people"],
  ],
  stripe: [[/^GET \/v1\/customers customers$/, "reaches every customer"]],
  zendesk: [
    [/_many|\{what:|\/merge |imports|\/autocomplete /, "names objects in its body or its query, or reaches every one"],
    [/\{people:|mark_as_spam/, "reaches a ticket and users"],
    [/\/(?:problems|ticket_audits|ticket_metrics|incremental)/, "reaches every ticket or user"],
    [/\/(?:deleted|suspended)_\w+|\/requests/, "another list of the same numbers"],
    [/\/(?:views|groups|organizations|users)\/\{id:int\}\/(?:tickets|users|\{what)/, "the number is not the object's"],
    [/^GET,POST \/api\/v2\/users /, "reaches every user, or creates one"],
  ],
};

const linesOf = ({ alone = [], also = {} }: LimitDefinition): string[] => [...alone, ...Object.keys(also)];

describe("what a built-in service lets grants limit", () => {
  it.each(BUILT_IN_SERVICES)("is reviewed for every rule: $name", ({ name, rules, limits = {} }) => {
    const listed = new Set(Object.values(limits).flatMap(linesOf));
    const denied = DENIED[name] ?? [];
    const advice = `Say in src/policy/services/limits/${name}.ts what grants may limit at these rules, or here in DENIED.${name} why nothing.`;
    expect(
      rules.filter((line) => !listed.has(line) && !denied.some(([lines]) => lines.test(line))),
      advice,
    ).toEqual([]);
    expect(rules.filter((line) => listed.has(line) && denied.some(([lines]) => lines.test(line)))).toEqual([]);
    for (const [lines] of denied) expect(rules.filter((line) => lines.test(line)).length).toBeGreaterThan(0);
    expect(services.get(name)!.table().limits().size).toBe(Object.keys(limits).length);
  });

  it.each(BUILT_IN_SERVICES)(
    "is not left out at a rule that names the object: $name",
    ({ name, rules, limits = {} }) => {
      // At these a file or a branch is read or written by a name that the path does not have in this place.
      const others = /^path\.(?:branch|path) /;
      const missing = Object.entries(limits).flatMap(([field, definition]) => {
        const listed = new Set(linesOf(definition));
        const named = rules.filter((line) => new RegExp(`\\{${field.replace("path.", "")}\\b`).test(line));
        return named
          .filter((line) => !listed.has(line) && !DENIED[name]?.some(([lines]) => lines.test(line)))
          .map((line) => `${field} ${line}`);
      });
      expect(missing.filter((one) => !others.test(one))).toEqual([]);
    },
  );
});

/** What a request is made of, before it is written as text. */
interface Made {
  readonly service: string;
  readonly line: string;
  readonly method: string;
  readonly path: readonly (readonly [name: string, value: string])[];
  readonly query: readonly (readonly [name: string, value: string])[];
  readonly body: { readonly kind: "none" | "json" | "form"; readonly fields: readonly BodyField[] };
}
type BodyField = readonly [steps: readonly string[], value: Scalar | readonly Scalar[]];

const numberOf = (value: Scalar): number | undefined =>
  typeof value === "number"
    ? value
    : typeof value === "string" && /^(?:0|[1-9]\d*)$/.test(value)
      ? Number(value)
      : undefined;

/** A checker of its own, written from the rules and slow. It reads the tables as they are written, not as they are compiled. */
function slowlyAllows(where: Where, limits: Readonly<Record<string, LimitDefinition>>, made: Made): boolean {
  const looksLike = (name: string, other: string) =>
    name.toLowerCase().replaceAll(/[_-]|\W.*/g, "") === other.toLowerCase().replaceAll(/[_-]/g, "");
  /** Every place that names a field: path, query and body, with what stands there; undefined for another spelling. */
  const found = (field: string): (readonly Scalar[] | undefined)[] => {
    const [place, ...steps] = field.split(".") as [string, ...string[]];
    const first = steps[0]!;
    const inPath = made.path.filter(([name]) => looksLike(name, first));
    const inQuery = made.query.filter(([name]) => looksLike(name, first));
    const inBody = made.body.fields.filter(([[name]]) => looksLike(name!, first));
    const below = inBody.filter(([given]) => place !== "body" || given.join() === steps.join() || given[0] !== first);
    return [
      ...inPath.map(([name, value]) => (place === "path" && name === first ? [value] : undefined)),
      ...inQuery.map(([name, value]) => (place === "query" && name === first ? [value] : undefined)),
      ...below.map(([given, value]) =>
        place === "body" && given.join() === steps.join()
          ? Array.isArray(value)
            ? value
            : [value as Scalar]
          : undefined,
      ),
    ];
  };
  return Object.entries(where).every(([field, conditions]) => {
    const definition = limits[field]!;
    if (!linesOf(definition).includes(made.line)) return false;
    if ((definition.without ?? []).some((other) => found(other).length > 0)) return false;
    const holds = (value: Scalar): boolean => {
      const equal = (operand: Scalar): boolean =>
        typeof operand === "number"
          ? numberOf(value) === operand
          : typeof value === "string" &&
            (definition.ignoresCase
              ? value.toLowerCase() === String(operand).toLowerCase()
              : value === String(operand));
      const number = numberOf(value);
      return (
        (conditions.eq === undefined || equal(conditions.eq)) &&
        (!conditions.in || conditions.in.some(equal)) &&
        (!conditions.not_in || (definition.closedList!.some(equal) && !conditions.not_in.some(equal))) &&
        (conditions.min === undefined || (number !== undefined && number >= conditions.min)) &&
        (conditions.max === undefined || (number !== undefined && number <= conditions.max))
      );
    };
    const check = (name: string, isRequired: boolean): boolean => {
      const values = found(name);
      if (values.length === 0) return !isRequired;
      const [only] = values;
      return values.length === 1 && only !== undefined && only.length > 0 && only.every(holds);
    };
    return check(field, true) && (definition.also?.[made.line] ?? []).every((other) => check(other, false));
  });
}

/** Values of each type of path parameter, few, so that limits often hold. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  int: ["5", "7"],
  record: ["001A00000012345", "001A00000012345AAA", "00QA00000012345"],
  version: ["v61.0"],
  month: ["2026-03"],
  uuid: ["01234567-89ab-cdef-0123-456789abcdef"],
  custom: ["Ext__c"],
};
const TEXTS = ["octo", "OCTO", "hello", "other", "5", "main"];

const valuesFor = (type: string | undefined): readonly string[] =>
  type === undefined || type.startsWith("text") || type.startsWith("!") ? TEXTS : (VALUES[type] ?? type.split("|"));

describe("through the tables of all services", () => {
  const PARAMETER = /\{(\w+)(?:\.\.\.|:([^}]*)|![^}]*)?\}/;
  const lines = BUILT_IN_SERVICES.filter(({ limits }) => limits).flatMap((definition) =>
    definition.rules.map((line) => ({ definition, line })),
  );
  // Rules that can be limited are drawn more often.
  const isListed = (of: (limit: LimitDefinition) => string[]) =>
    lines.filter(({ definition, line }) => Object.values(definition.limits!).some((limit) => of(limit).includes(line)));
  const listed = isListed(linesOf);
  const withOthers = Array<typeof listed>(30)
    .fill(isListed(({ also = {} }) => Object.keys(also)))
    .flat();
  const scalar = fc.oneof(fc.constantFrom<Scalar>(...TEXTS, "closed", "open"), fc.integer({ min: 0, max: 9 }));
  const conditions = fc.oneof(
    scalar.map((eq) => ({ eq })),
    fc.array(scalar, { minLength: 1, maxLength: 4 }).map((list) => ({ in: list })),
    fc.tuple(fc.nat(9), fc.nat(9)).map(([min, max]) => ({ min, max })),
  );

  const drawn = fc.constantFrom(...lines, ...listed, ...listed, ...withOthers).chain(({ definition, line }) => {
    const { name: service, limits = {} } = definition;
    const [methods = "", path = ""] = line.split(" ");
    const parameters = [...path.matchAll(new RegExp(PARAMETER, "g"))].map(([, name, type]) => ({ name: name!, type }));
    const here = Object.keys(limits).filter((field) => linesOf(limits[field]!).includes(line));
    const names = Object.entries(limits).flatMap(([field, { without = [], also = {} }]) =>
      [field, ...without, ...Object.values(also).flat()].map((one) => one.split(".").slice(1)),
    );
    const spelled = fc
      .tuple(fc.constantFrom(...names), fc.constantFrom("", "", "", "upper", "[]"))
      .map(([[first = "", ...rest], how]) =>
        [how === "" ? first : how === "upper" ? first.toUpperCase() : `${first}[]`].concat(rest),
      );
    const limit = fc
      .uniqueArray(fc.constantFrom(...(here.length > 0 ? [...here, ...here] : []), ...Object.keys(limits)), {
        minLength: 1,
        maxLength: 3,
      })
      .chain((fields) =>
        fc.tuple(
          ...fields.map((field) => {
            const { closedList } = limits[field]!;
            const own = parameters.find(({ name }) => `path.${name}` === field);
            const likely = own ? valuesFor(own.type).map((eq) => ({ eq })) : [];
            return fc.tuple(
              fc.constant(field),
              fc.oneof(
                conditions,
                ...(likely.length > 0 ? [{ weight: 4, arbitrary: fc.constantFrom(...likely) }] : []),
                ...(closedList ? [fc.constantFrom(...closedList).map((one) => ({ not_in: [one] }))] : []),
              ),
            );
          }),
        ),
      )
      .map((pairs) => Object.fromEntries(pairs) as Where);
    const value = fc.oneof(
      { weight: 4, arbitrary: scalar },
      { weight: 1, arbitrary: fc.array(scalar, { maxLength: 2 }) },
    );
    const method = fc.constantFrom(...methods.split(","), ...(methods.includes("GET") ? ["HEAD"] : []));
    return fc.record({
      where: limit,
      made: fc.record({
        service: fc.constant(service),
        line: fc.constant(line),
        method,
        path: fc.tuple(
          ...parameters.map(({ name, type }) => fc.tuple(fc.constant(name), fc.constantFrom(...valuesFor(type)))),
        ),
        query: fc.array(
          fc.tuple(
            spelled.map(([first = ""]) => first),
            fc.constantFrom(...TEXTS),
          ),
          { maxLength: 1 },
        ),
        body: fc.record({
          kind: fc.constantFrom("none" as const, "json" as const, "json" as const, "form" as const),
          fields: fc.uniqueArray(fc.tuple(spelled, value), {
            maxLength: 3,
            selector: ([[first]]) => first!.toLowerCase(),
          }),
        }),
      }),
    });
  });

  const json = (fields: readonly BodyField[]): string => {
    const whole: Record<string, unknown> = {};
    for (const [[first = "", ...rest], value] of fields) {
      whole[first] = rest.reduceRight<unknown>((inner, step) => ({ [step]: inner }), value);
    }
    return JSON.stringify(whole);
  };
  const form = (fields: readonly BodyField[]): string =>
    fields
      .flatMap(([[first = "", ...rest], value]) =>
        (Array.isArray(value) ? value : [value as Scalar]).map((one) => [
          first + rest.map((step) => `[${step}]`).join(""),
          one,
        ]),
      )
      .map(([name, value]) => `${encodeURIComponent(name!)}=${encodeURIComponent(value!)}`)
      .join("&");

  /** Resolves and judges as the gateway does. Undefined if the request is refused, or is of another rule. */
  function allows(where: Where, made: Made): boolean | undefined {
    let at = 0;
    const path = made.line
      .split(" ")[1]!
      .replaceAll(new RegExp(PARAMETER, "g"), () => encodeURIComponent(made.path[at++]![1]));
    const query = made.query.map(([name, value]) => `${encodeURIComponent(name)}=${value}`).join("&");
    const isJson = made.body.kind === "json";
    const text = made.body.kind === "none" ? "" : isJson ? json(made.body.fields) : form(made.body.fields);
    const type = isJson ? "application/json" : "application/x-www-form-urlencoded";
    const headers = new Headers(text === "" ? {} : { "content-type": type, "content-length": `${text.length}` });
    const target = query === "" ? path : `${path}?${query}`;
    const resolved = resolveRequest(services, { service: made.service, method: made.method, target, headers });
    if (resolved.outcome === "refused" || resolved.rule !== made.line) return undefined;
    const [first = "", ...others] = resolved.required;
    const grants = [{ permission: first, where, expiresAt: null }, ...others.map(unlimited)];
    const holdings = { permissions: new Set(others), tokenGrants: grants, agentGrants: [grants] };
    const found = findGrants(resolved.required, holdings, BUILT_IN_CATALOGUE, 0);
    if (found.outcome !== "granted") throw new Error(found.outcome);
    const rules: BodyRules = {
      forms: resolved.service.table().formNames,
      keys: [],
      isCovered: true,
      isFile: false,
      isLimited: true,
    };
    const body = checkBody(new TextEncoder().encode(text).buffer as ArrayBuffer, bodyTreatment(headers, rules), rules);
    return "code" in body ? undefined : judgeLimits(found.limited, resolved, body.content) === null;
  }

  for (const { numRuns, options } of extents(200, 50_000)) {
    it(`no request passes that a slow, independent checker refuses: ${numRuns} requests`, options, () => {
      fc.assert(
        fc.property(drawn, ({ where, made }) => {
          const hasBody = made.body.kind !== "none" && !/^(?:GET|HEAD)$/.test(made.method);
          const one: Made = hasBody ? made : { ...made, body: { kind: "none", fields: [] } };
          // A list in a form is a field that stands there several times, and none if it is empty.
          const limits = BUILT_IN_SERVICES.find(({ name }) => name === made.service)!.limits!;
          const isAllowed = allows(where, one);
          if (isAllowed === undefined) return;
          const sent: Made =
            one.body.kind !== "form"
              ? one
              : {
                  ...one,
                  body: {
                    kind: "form",
                    fields: one.body.fields.flatMap(([steps, value]) =>
                      (Array.isArray(value) ? value : [value as Scalar]).map((each): BodyField => [
                        steps,
                        String(each),
                      ]),
                    ),
                  },
                };
          expect(isAllowed).toBe(slowlyAllows(where, limits, sent));
        }),
        { numRuns },
      );
    });
  }
});
