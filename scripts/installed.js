import { existsSync } from "node:fs";

// In JavaScript, so that the Node of a machine that has no other says what is missing: before `npm ci` there is none that reads TypeScript.
const [major = 0] = process.versions.node.split(".").map(Number);
const hasPackages = existsSync(new URL("../node_modules/.bin/wrangler", import.meta.url));
if (!hasPackages || major < 22) {
  console.error(
    hasPackages
      ? `\nThis is Node ${process.versions.node}, without the newer one that \`npm ci\` installs. Run \`npm ci\` again, without --ignore-scripts.\n`
      : "\nThe packages are not installed. Run `npm ci` first, and then `npm start`.\n",
  );
  process.exit(1);
}
