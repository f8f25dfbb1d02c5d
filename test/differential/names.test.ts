import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { bodyTreatment, checkBody, type BodyRules } from "../../src/policy/body.ts";
import { REFUSED_PARAMETERS } from "../../src/policy/service-definition.ts";
import { watchNames } from "../../src/policy/parameter-name.ts";
import { parseQuery } from "../../src/policy/query.ts";
import { loadServices } from "../../src/policy/services.ts";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { areInstalled, startPhp, startRack, type Form, type Parameters, type Parser } from "./parsers.ts";
import { RequestGenerator } from "./requests.ts";

/**
 * What PHP and Rack read in what the gateway sends. `npm run differential`; with `SEED=2` other requests, with `RECORD=1`
 * some of them are written to `test/policy/recorded-requests.json`, which the tests check without PHP and Ruby.
 */
const SEED = inject("seed");
const COUNT = 12_000;
const RECORDED = join(import.meta.dirname, "../policy/recorded-requests.json");

const stripe = loadServices(new Map(), BUILT_IN_CATALOGUE).services.get("stripe")!.table();
const RULES: BodyRules = {
  forms: watchNames(REFUSED_PARAMETERS),
  keys: ["token", "associations"],
  isCovered: true,
  isFile: false,
};
const FORM_NAMES = [...REFUSED_PARAMETERS, "associations"];
const QUERY_NAMES = [...stripe.queryNames.exact.keys()];

if (!areInstalled())
  console.warn("Skipped: install php-cli, ruby and ruby-rack (apt-get install) to compare with them.");

/** Names of these that the parsers read at the top, in any case. */
const readNames = (all: readonly Parameters[], names: readonly string[]): string[] =>
  all.flatMap((parameters) => Object.keys(parameters)).filter((name) => names.includes(name.toLowerCase()));

/** Every text below a parameter. Keys of a list are numbers. */
function texts(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    (/^\d+$/.test(key) ? [] : [`key ${key}`]).concat(texts(inner)),
  );
}

const textsOfExpand = (parameters: Parameters): string[] =>
  Object.entries(parameters).flatMap(([name, value]) => (name.toLowerCase() === "expand" ? texts(value) : []));

describe.skipIf(!areInstalled())(`from the seed ${SEED}`, () => {
  let parsers: Parser[] = [];
  const recorded: Record<string, object[]> = { queries: [], forms: [] };

  beforeAll(async () => {
    parsers = [await startPhp("&"), await startPhp(";&"), startRack("&"), startRack("&;")];
  });
  afterAll(() => {
    for (const parser of parsers) parser.stop();
    if (process.env.RECORD) writeFileSync(RECORDED, `${JSON.stringify(recorded, null, 1)}\n`);
  });

  /** For each request, what each parser reads. */
  async function readAll(read: (parser: Parser) => Promise<Parameters[]>): Promise<Parameters[][]> {
    const byParser = await Promise.all(parsers.map(read));
    return byParser[0]!.map((_, index) => byParser.map((answers) => answers[index]!));
  }

  it("no query that passes holds a refused name, and every value that embeds is counted", async () => {
    const generator = new RequestGenerator(SEED, QUERY_NAMES);
    const queries = Array.from({ length: COUNT }, () => generator.query());
    const read = await readAll((parser) => parser.readQueries(queries));
    const counts = { watched: 0, passed: 0, embedded: 0 };
    queries.forEach((query, index) => {
      const names = readNames(read[index]!, QUERY_NAMES);
      if (names.length > 0) counts.watched++;
      const reading = parseQuery(query, stripe.queryNames, stripe.embeds);
      if (recorded.queries!.length < 200 && names.length > 0)
        recorded.queries!.push({ query, read: [...new Set(names)] });
      if ("code" in reading) return;
      counts.passed++;
      expect(
        names.filter((name) => name.toLowerCase() !== "expand"),
        query,
      ).toEqual([]);
      for (const value of read[index]!.flatMap(textsOfExpand)) {
        counts.embedded++;
        for (const part of value.split(/[,.]/).filter((text) => text !== "")) {
          const needs = stripe.embeds.get("expand")!.get(part);
          if (reading.embedded !== null)
            expect(reading.embedded, query).toEqual(expect.arrayContaining([...(needs ?? [part])]));
        }
      }
    });
    console.info(`${COUNT} queries`, counts);
    expect(counts.watched).toBeGreaterThan(COUNT / 10);
    expect(counts.passed).toBeGreaterThan(COUNT / 10);
    expect(counts.embedded).toBeGreaterThan(100);
  });

  it.each(["urlencoded", "multipart"] as const)(
    "no %s form that passes holds a refused name, neither as it came nor as it is sent",
    async (kind) => {
      const generator = new RequestGenerator(SEED, FORM_NAMES);
      const forms = Array.from({ length: COUNT }, () => generator[kind]());
      const read = await readAll((parser) => parser.readForms(forms));
      const passed: { index: number; sent: Form }[] = [];
      let watched = 0;
      for (const [index, { contentType, body }] of forms.entries()) {
        const names = readNames(read[index]!, FORM_NAMES);
        if (names.length > 0) watched++;
        if (names.length > 0 && recorded.forms!.length < (kind === "multipart" ? 300 : 100)) {
          recorded.forms!.push({ contentType, body: Buffer.from(body).toString("base64"), read: [...new Set(names)] });
        }
        const treatment = bodyTreatment(new Headers({ "content-type": contentType }), RULES);
        const judged = checkBody(new Uint8Array(body).buffer, treatment, RULES);
        if ("code" in judged || judged.body === null) continue;
        expect(names, `${contentType}\n${Buffer.from(body).toString("latin1")}`).toEqual([]);
        const bytes = await new Response(judged.body).bytes();
        passed.push({ index, sent: { contentType: judged.contentType!, body: bytes } });
      }
      const again = await readAll((parser) => parser.readForms(passed.map(({ sent }) => sent)));
      again.forEach((parameters, at) => {
        const sent = Buffer.from(passed[at]!.sent.body).toString();
        expect(readNames(parameters, FORM_NAMES), sent).toEqual([]);
      });
      console.info(`${COUNT} ${kind} forms`, { watched, passed: passed.length });
      expect(watched).toBeGreaterThan(COUNT / 10);
      expect(passed.length).toBeGreaterThan(COUNT / 30);
    },
  );
});
