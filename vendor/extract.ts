import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fail, ROOT } from "../scripts/local.ts";
import { readOperations, SERVICES, writeOperations } from "../scripts/operations.ts";

/** Reads the vendors' descriptions and rewrites vendor/operations. */
type Found = { method: string; path: string; group: string };

const github = (): Found[] => {
  const file = join(ROOT, "vendor/node_modules/@octokit/openapi/generated/api.github.com.json");
  if (!existsSync(file)) fail("GitHub's description is not installed. Run `npm ci --prefix vendor` first.");
  const { paths } = JSON.parse(readFileSync(file, "utf8")) as {
    paths: Record<string, Record<string, { "x-github"?: { category?: string; subcategory?: string } }>>;
  };
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item)
      .filter(([method]) => /^(get|put|post|patch|delete)$/.test(method))
      .map(([method, { "x-github": about }]) => ({
        method: method.toUpperCase(),
        path,
        group: `${about?.category}/${about?.subcategory}`,
      })),
  );
};

/** The text of every file below a folder whose name matches. */
function texts(folder: string, name: RegExp): string[] {
  return readdirSync(join(ROOT, "node_modules", folder), { recursive: true, encoding: "utf8" })
    .filter((file) => name.test(file))
    .map((file) => readFileSync(join(ROOT, "node_modules", folder, file), "utf8"));
}

const stripe = (): Found[] =>
  texts("stripe/esm/resources", /\.js$/).flatMap((text) =>
    [...text.matchAll(/_makeRequest\('(GET|POST|DELETE)', [`']([^`']+)[`']/g)].map(([, method = "", template = ""]) => {
      const path = template.replace(/\$\{encodeURIComponent\((\w+)\)\}/g, "{$1}");
      return { method, path, group: path.split("/")[2] ?? "" };
    }),
  );

const slack = (): Found[] =>
  texts("@slack/web-api/dist", /^methods\.js$/).flatMap((text) =>
    [...text.matchAll(/bindApiCall\w*\(this, '([\w.]+)'\)/g)].flatMap(([, name = ""]) =>
      // Slack takes GET for all of them, writes included.
      ["GET", "POST"].map((method) => ({ method, path: `/api/${name}`, group: name.split(".")[0] ?? "" })),
    ),
  );

const hubspot = (): Found[] =>
  texts("@hubspot/api-client/lib/codegen", /apis[\\/]\w+\.js$/)
    .flatMap((text) =>
      [...text.matchAll(/localVarPath = '([^']+)'[^;]*?;?[\s\S]*?HttpMethod\.(\w+)\)/g)].flatMap(
        ([, path = "", method = ""]) => {
          return typed(path).map((one) => ({ method, path: one }));
        },
      ),
    )
    .map(({ method, path }) => ({ method, path, group: hubspotGroup(path) }));

/** The type of an object; of an association, those of both its ends. */
function hubspotGroup(path: string): string {
  const [, from, to] =
    /^\/crm\/v\d\/objects\/([^/]+)\/[^/]+\/associations\/(?:default\/)?([^/]+)/.exec(path) ??
    /^\/crm\/v\d\/associations\/([^/]+)\/([^/]+)\/batch\//.exec(path) ??
    /^\/crm\/v\d\/objects\/([^/]+)/.exec(path) ??
    [];
  return from === undefined ? (path.split("/")[1] ?? "") : to === undefined ? from : `${from}+${to}`;
}

/** A path once for each of the catalogue's types in the place of a type, and once as it is. */
function typed(path: string): string[] {
  const end = /\{(?:objectType|(?:from|to)ObjectType(?!\}\/(?:labels|\{toObjectType\}\/labels)))\}/.exec(
    /definitions/.test(path) ? "" : path,
  )?.[0];
  if (!end) return [path];
  return ["contacts", "companies", "deals", end.replace("{", "{ ")]
    .flatMap((type) => typed(path.replace(end, type)))
    .map((one) => one.replace("{ ", "{"));
}

const PUBLISHED: Readonly<Record<string, () => Found[]>> = { github, stripe, slack, hubspot };

for (const [service, read] of Object.entries(PUBLISHED)) {
  const found = read();
  writeOperations(service, found);
  console.log(`${service}: ${found.length} operations`);
}
// No package describes the others. The lines of their files are the list, kept by hand, and are only classified again.
for (const service of SERVICES) {
  if (!Object.hasOwn(PUBLISHED, service)) writeOperations(service, readOperations(service));
}
