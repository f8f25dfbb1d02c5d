import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./local.ts";
import { narrowMarkdown } from "./narrow-markdown.ts";

/** Wraps the pages that people read at 100 columns, tables included: those that are named, or else all. */
const folders = ["", "docs/", "python/"];
const pages = folders.flatMap((folder) => readdirSync(join(ROOT, folder)).map((name) => folder + name));
const named = process.argv.slice(2);
for (const page of named.length > 0 ? named : pages.filter((name) => name.endsWith(".md"))) {
  const text = readFileSync(join(ROOT, page), "utf8");
  const narrow = await narrowMarkdown(text);
  if (narrow === text) continue;
  writeFileSync(join(ROOT, page), narrow);
  console.log(`${page}: wrapped`);
}
