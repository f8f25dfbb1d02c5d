import { family, shown } from "../family.ts";
import { mustBe } from "../lab.ts";
import { decodeLeniently } from "../parsers.ts";
import type { Random } from "../random.ts";
import { BASES } from "../vault.ts";

const DOTS = [
  "..", "%2e%2e", ".%2e", "%2E.", "%252e%252e", "%25252e%25252e", "..%00", "..%23", "..%3f", "..%3F", "..%20", "..%09", "..;", "..;x=1",
  "..%3b", "...", ".", "%2e", "\uff0e\uff0e", "%ef%bc%8e%ef%bc%8e", "\u2024\u2024", "%c0%ae%c0%ae", "%u002e%u002e", "..\\", "..%5c",
  "%5c..", ".\t.", "..%0d%0a", "\u2025", "..%c2%a0", "..%e2%80%8b", "..#", "..?", "..%2523",
]; // prettier-ignore
const SLASHES = [
  "/", "%2f", "%2F", "%252f", "%252F", "\\", "%5c", "%5C", "%255c", "//", "/%2f", "\uff0f", "%ef%bc%8f", "\u2215", "\u2044", "%c0%af", "/./",
  "/%2e/", "\uff3c", "%ef%bc%bc", "/;/", "%00/", "/%20/",
]; // prettier-ignore
const STARTS = [
  "/public/1",
  "/public",
  "/files",
  "/files/a/b",
  "/files/a%2Fb",
  "/named/x",
  "/named",
  "/named/x%2Fy",
  "",
];
const ENDS = [
  "secret/1",
  "SECRET/1",
  "Secret/1",
  "%73ecret/1",
  "s%65cret/1",
  "secret%2f1",
  "secret;x/1",
  "secret./1",
  "secret%20/1",
  "secret/1.json",
  "\uff53ecret/1",
];
const WORDS = ["status", "statuses", "check-runs", "check-suites", "protection"];

interface Path {
  readonly service: "vault" | "github";
  readonly path: string;
}

function climbing(random: Random): Path {
  let path = random.pick(STARTS);
  const depth = 1 + random.below(5);
  const [slash, dots] = [random.pick(SLASHES), random.pick(DOTS)];
  // Mostly one spelling for all steps, sometimes any mixture.
  for (let step = 0; step < depth; step++) {
    const mixed = random.chance(0.2);
    path += (mixed ? random.pick(SLASHES) : slash) + (mixed ? random.pick(DOTS) : dots);
  }
  return { service: "vault", path: path + (random.chance(0.5) ? slash : "/") + random.pick(ENDS) };
}

const anyCase = (random: Random, text: string): string =>
  [...text].map((letter) => (random.chance(0.4) ? letter.toUpperCase() : letter)).join("");

function spelled(random: Random): Path {
  if (random.chance(0.4)) {
    const word = anyCase(random, random.pick(WORDS));
    const section = word.toLowerCase() === "protection" ? "branches" : "commits";
    return { service: "github", path: `/repos/o/r/${section}/main${random.pick(["%2F", "%2f", "/"])}${word}` };
  }
  const word = anyCase(random, "secret");
  const hidden = random.chance(0.5)
    ? word
    : word.replace(/[a-z]/i, (letter) => `%${letter.charCodeAt(0).toString(16)}`);
  return {
    service: "vault",
    path: random.pick([`/${hidden}/1`, `/named/x%2F${hidden}`, `/named/x/${hidden}`, `/${hidden}`]),
  };
}

/** Everything that some server might make of a path, short of running it. */
function meanings(target: string): string[] {
  let forms = [target];
  const more = (make: (form: string) => string) => (forms = [...new Set([...forms, ...forms.map(make)])]);
  for (let times = 0; times < 3; times++) more((form) => decodeLeniently(form, false));
  more((form) => form.normalize("NFKC"));
  more((form) => form.replace(/[\u2215\u2044]/g, "/"));
  more((form) => form.replaceAll("\\", "/"));
  more((form) => form.split(/[?#\0]/, 1)[0]!);
  more((form) => form.replace(/;[^/]*/g, ""));
  more((form) => form.replace(/[ \0\t\r\n]+(?=\/|$)/g, ""));
  return forms.flatMap((form) => [resolved(form), resolved(form.replace(/([^./])\.+(?=\/|$)/g, "$1"))]);
}

function resolved(path: string): string {
  const stack: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "..") stack.pop();
    else if (segment !== "." && segment !== "") stack.push(segment);
  }
  return `/${stack.join("/")}`.toLowerCase();
}

function isWrong(target: string): boolean {
  const path = target.split("?", 1)[0]!;
  return meanings(path).some((meaning) => {
    if (meaning.startsWith(`${BASES.github}/`) || path.startsWith(`${BASES.github}/`))
      return !meaning.startsWith(`${BASES.github}/repos/o/r/`) || WORDS.some((word) => meaning.endsWith(`/${word}`));
    const below = meaning.slice(BASES.vault!.length);
    if (!meaning.startsWith(`${BASES.vault}/`)) return true;
    return !/^\/(?:public|files|named)(?:\/|$)/.test(below) || /^\/named\/.*\/secret$/.test(below);
  });
}

export const paths = family<Path>(
  "paths",
  "another of the API's paths than the one that was judged",
  (random, size) =>
    Array.from({ length: size === "full" ? 5500 : 200 }, () =>
      random.chance(0.85) ? climbing(random) : spelled(random),
    ),
  async (lab, inputs) => {
    const agents = await lab.crowd(["vault:public:read", "github:repos:read"], inputs.length);
    const control = await lab.send({ target: "/proxy/vault/named/x%2Fy", token: agents(0).token, tag: "control" });
    mustBe(
      "a path that is covered",
      `${control.status} ${lab.upstream.tagged("control")[0]?.target}`,
      "200 /base/v1/named/x%2Fy",
    );
    const through: string[] = [];
    await lab.each(inputs, async ({ service, path }, index) => {
      const tag = `p${index}`;
      await lab.send({ target: `/proxy/${service}${path}`, token: agents(index).token, tag });
      for (const { target } of lab.upstream.tagged(tag)) {
        if (isWrong(target)) through.push(`${shown(path)} arrived as ${shown(target)}`);
      }
    });
    return { through };
  },
);
