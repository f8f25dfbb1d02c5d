import { RECOVERY_ACTOR } from "../src/authority/actor-row.ts";
import { SYSTEM_ORIGIN } from "../src/outbox/record.ts";
import { makeLink } from "../src/people/links.ts";
import { findPersonByEmail } from "../src/people/people.ts";
import { normalizeEmail } from "../src/people/person.ts";
import { databaseOf } from "./d1.ts";
import { declaredSettings, deployedSettings } from "./declared-settings.ts";
import { fail, localIssuer } from "./local.ts";

/**
 * Makes a sign-in link for a person who cannot sign in any more, and whom no administrator can help: for whoever has the database. The
 * person and the administrators are told, and it is in the audit log.
 */
const USAGE = `
  npm run --silent recover -- EMAIL              shows whom a link would be for, and changes nothing
  npm run --silent recover -- EMAIL --yes        makes the link, which is good once, for 15 minutes

With --remote it is a person of the deployment, otherwise of this machine. docs/people.md says more.`;

const options = process.argv.slice(2).filter((one) => one.startsWith("--"));
const [text, ...more] = process.argv.slice(2).filter((one) => !one.startsWith("--"));
if (!text || more.length > 0 || options.some((one) => one !== "--yes" && one !== "--remote")) fail(USAGE);

const email = normalizeEmail(text);
if (email === undefined) fail(`${text} is not an address in ASCII.`);
const isRemote = options.includes("--remote");
const issuer = isRemote
  ? String(deployedSettings().ISSUER ?? "")
  : localIssuer(declaredSettings() as { ISSUER?: string });
if (!issuer) fail("ISSUER is not set in [vars] of wrangler.toml: the link would lead nowhere.");

const db = databaseOf(isRemote ? "remote" : "local");
const person = await findPersonByEmail(db, email);
if (!person)
  fail(`Nobody has the address ${email}. If there is no person at all, POST /people/bootstrap makes the first.`);
const { name, role, status } = person;
console.log(`${name} <${email}>, ${role}, ${status}`);
if (status !== "active")
  fail("The person is suspended, and a link would not sign them in. An administrator sets them active.");

if (!options.includes("--yes")) {
  console.log(`
A link would be made for this person at ${issuer}. Links that they have not used would end. They and the
administrators would be told. Nothing was changed: add --yes to make it.`);
} else {
  const now = Date.now();
  const origin = { ...SYSTEM_ORIGIN, actor: RECOVERY_ACTOR };
  const link = await makeLink(db, person.id, { by: "operator", now, origin });
  if (!link) fail("The person was suspended or deleted meanwhile. Nothing was changed.");
  console.log(`
${issuer}/sign-in#link=${link.token}

It signs ${name} in once, within 15 minutes, to enrol a passkey. Give it to nobody else.`);
}
