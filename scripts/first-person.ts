import { BASE_URL, fail, readDevVars } from "./local.ts";

/** Makes the first administrator who is a person at the gateway that `npm start` runs, and prints the link that they sign in with. */
const [email, ...more] = process.argv.slice(2);
if (!email || more.length > 0) fail("Name your address: npm run --silent first-person -- you@example.com");

const { ADMIN_BOOTSTRAP_TOKEN: token } = readDevVars();
if (!token) fail(".dev.vars has no ADMIN_BOOTSTRAP_TOKEN. Run `npm start` first: it makes one.");

const response = await fetch(`${BASE_URL}/people/bootstrap`, {
  method: "POST",
  headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
  body: JSON.stringify({ email }),
}).catch(() => fail(`No gateway answers at ${BASE_URL}. Run \`npm start\` in another terminal, with the same PORT.`));
const { message, link } = (await response.json()) as { message?: string; link?: { url: string } };
if (!link) fail(`The first person was not made: ${response.status} ${message}`);
console.log(`${message}\n\n  ${link.url}\n`);
