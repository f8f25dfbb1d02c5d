import { existsSync, readFileSync } from "node:fs";

// In JavaScript, so that the Node of a machine that has no other says what is missing: before `npm ci` there is none that reads TypeScript.
const [major = 0] = process.versions.node.split(".").map(Number);
const inRoot = (name) => new URL(`../${name}`, import.meta.url);
const versionIn = (name) => JSON.parse(readFileSync(inRoot(name), "utf8")).version;

/** The packages that package.json names in another version than the one that is installed, or that are not installed. */
function changed() {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(inRoot("package.json"), "utf8"));
  return Object.entries({ ...dependencies, ...devDependencies })
    .filter(([name, wanted]) => {
      const file = `node_modules/${name}/package.json`;
      // `npm:typescript@7.0.2` is a package under another name.
      return !existsSync(inRoot(file)) || versionIn(file) !== wanted.slice(wanted.lastIndexOf("@") + 1);
    })
    .map(([name]) => name);
}

/** What keeps the scripts from running, or undefined. */
function obstacle() {
  if (!existsSync(inRoot("node_modules/.bin/wrangler"))) {
    return "The packages are not installed. Run `npm ci` first, and then `npm start`.";
  }
  if (major < 22) {
    return `This is Node ${process.versions.node}, without the newer one that \`npm ci\` installs. Run \`npm ci\` again, without --omit=optional; if that does not help, install Node 22 or later.`;
  }
  const names = changed();
  if (names.length > 0) {
    return `package.json has changed since the packages were installed: ${names.join(", ")}. Run \`npm ci\` again.`;
  }
  return undefined;
}

const message = obstacle();
if (message !== undefined) {
  console.error(`\n${message}\n`);
  process.exit(1);
}
