import type { Role } from "../../src/people/person.ts";
import { Authenticator } from "./authenticator.ts";
import type { Answer } from "./answer.ts";

export const ORIGIN = "https://auth.example.com";

/** What a page of this deployment sends beside the cookie. */
export const OWN_PAGE = { origin: ORIGIN, "x-agentauth-console": "1" };

type Init = RequestInit & { token?: string; json?: unknown; ip?: string };

/** The Worker that people sign in to: here as a function, or in a process of its own. */
interface Deployment {
  call(path: string, init?: Init): Promise<Answer>;
  readonly env: { readonly ADMIN_BOOTSTRAP_TOKEN?: string | undefined };
}

/** A person who is signed in in a browser of their own. */
export interface SignedInPerson {
  readonly id: string;
  readonly email: string;
  readonly cookie: string;
  readonly authenticator: Authenticator;
  /** A request of a page of this deployment. */
  call(path: string, init?: Init): Promise<Answer>;
  /** The same, and again with the passkey's confirmation where it is asked for. */
  confirmed(path: string, init?: Init): Promise<Answer>;
}

/** The value of the session's cookie that a response sets. */
export const cookieOf = ({ headers }: Pick<Answer, "headers">): string =>
  headers.get("set-cookie")?.split(";")[0]?.split("=")[1] ?? "";

/** A request of a page of this deployment, in a browser with this cookie. */
export const callWith = (self: Deployment, cookie: string, path: string, init: Init = {}): Promise<Answer> =>
  self.call(path, {
    ...init,
    headers: {
      ...OWN_PAGE,
      ...(cookie && { cookie: `__Host-agentauth=${cookie}` }),
      ...(init.headers as Record<string, string> | undefined),
    },
  });

function inBrowser(
  self: Deployment,
  person: { id: string; email: string },
  cookie: string,
  authenticator: Authenticator,
): SignedInPerson {
  const call: SignedInPerson["call"] = (path, init) => callWith(self, cookie, path, init);
  return {
    ...person,
    cookie,
    authenticator,
    call,
    async confirmed(path, init) {
      const asked = await call(path, init);
      if (asked.body.code !== "reauthentication_required") return asked;
      const assertion = await authenticator.confirm(asked.body.assertion);
      const headers = { ...(init?.headers as Record<string, string> | undefined), "agentauth-assertion": assertion };
      return call(path, { ...init, headers });
    },
  };
}

function good(answer: Answer): Answer {
  if (answer.status >= 300) throw new Error(JSON.stringify(answer.body));
  return answer;
}

/** Opens a sign-in link. Returns the cookie of its session. */
export async function openLink(self: Deployment, url: string): Promise<{ cookie: string; personId: string }> {
  const token = new URL(url).hash.replace("#link=", "");
  const read = good(await callWith(self, "", "/sign-in/link", { method: "POST", json: { token } }));
  const personId: string = read.body.person_id;
  const json = { token, person_id: personId };
  return { cookie: cookieOf(good(await callWith(self, "", "/sign-in/link", { method: "POST", json }))), personId };
}

/** Enrols a passkey in a session that may. */
export async function enrol(
  self: Deployment,
  { cookie, personId }: { cookie: string; personId: string },
  authenticator: Authenticator,
): Promise<Answer> {
  const { body } = good(await callWith(self, cookie, `/people/${personId}/passkeys/options`, { method: "POST" }));
  const json = { label: "a passkey of a test", ...(await authenticator.create(body.options)) };
  return callWith(self, cookie, `/people/${personId}/passkeys`, { method: "POST", json });
}

/** Signs in with a passkey. */
export async function signIn(self: Deployment, authenticator: Authenticator): Promise<Answer> {
  const { body } = good(await callWith(self, "", "/sign-in/passkey/options", { method: "POST" }));
  return callWith(self, "", "/sign-in/passkey/verify", {
    method: "POST",
    json: await authenticator.get(body.options),
  });
}

/** From a link to somebody who is signed in by their first passkey. */
export async function join(self: Deployment, invited: Answer): Promise<SignedInPerson> {
  const { person, link } = good(invited).body;
  const authenticator = new Authenticator();
  good(await enrol(self, await openLink(self, link.url), authenticator));
  const cookie = cookieOf(good(await signIn(self, authenticator)));
  return inBrowser(self, person, cookie, authenticator);
}

/** A command that a person lets in by the device grant. Returns its access token. */
export async function letIn(self: Deployment, person: SignedInPerson): Promise<string> {
  const post = (path: string, form: Record<string, string>) =>
    self.call(path, { method: "POST", body: new URLSearchParams({ client_id: "agentauth-cli", ...form }) });
  const { device_code, user_code } = good(await post("/oauth/device_authorization", {})).body;
  good(await person.call("/sign-in/device", { method: "POST", json: { user_code } }));
  const json = { user_code, decision: "approved" };
  good(await person.confirmed("/sign-in/device/decide", { method: "POST", json }));
  const grant_type = "urn:ietf:params:oauth:grant-type:device_code";
  return good(await post("/oauth/token", { grant_type, device_code })).body.access_token;
}

let people = 0;

/** The first administrator of an empty deployment. */
export async function firstAdministrator(self: Deployment): Promise<SignedInPerson> {
  const json = { email: "first@example.com", name: "First" };
  const token = self.env.ADMIN_BOOTSTRAP_TOKEN;
  return join(self, await self.call("/people/bootstrap", { method: "POST", ...(token && { token }), json }));
}

/** Somebody whom an administrator invites. */
export async function invite(self: Deployment, by: SignedInPerson, role: Role): Promise<SignedInPerson> {
  const json = { email: `person-${++people}@example.com`, role };
  return join(self, await by.confirmed("/people", { method: "POST", json }));
}
