// user-agent.js is built from src/console/user-agent.ts.
import { attempt, call, enrolPasskey, onClick, time } from "./api.js";
import { sessionName, visibleText } from "./user-agent.js";

const element = (id) => document.getElementById(id);
const ROLES = { admin: "Administrator", owner: "Owner", auditor: "Auditor" };
const KINDS = {
  "person.created": "was invited",
  "person.updated": "was changed",
  "person.deleted": "was deleted",
  "link.created": "got a sign-in link",
  "link.used": "used a sign-in link",
  "passkey.enrolled": "enrolled a passkey",
  "passkey.deleted": "lost a passkey",
  "login.bound": "added an account of the company",
  "login.deleted": "lost an account of the company",
  "command.approved": "let a command line act for them",
};

/** A row of a list: only ever text. @param title may also be an element, as of {@link program}. */
function row(title, detail, label, action) {
  const item = document.createElement("li");
  const words = document.createElement("div");
  for (const [text, kind] of [
    [title, "t"],
    [detail, "s"],
  ]) {
    const line = document.createElement("div");
    line.className = kind;
    line.append(text);
    words.append(line);
  }
  item.append(words);
  if (label) {
    const button = document.createElement("button");
    button.textContent = label;
    button.className = "danger";
    onClick(button, action);
    item.append(button);
  }
  return item;
}

/** Where a session is: a short name, and when that is opened, what the program has called itself, which may be anything. */
function program(session) {
  const [name, said] = [sessionName(session), session.user_agent];
  if (name === null || !said) return visibleText(name ?? (said || "Another browser"));
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = visibleText(name);
  const words = document.createElement("div");
  words.className = "s";
  const quoted = document.createElement("bdi");
  quoted.textContent = visibleText(said);
  words.append("It calls itself ", quoted);
  details.append(summary, words);
  return details;
}

/** A name as a person sees it, and can type it: of its spaces only that they are there, and nothing invisible. */
const asTyped = (name) => name.replace(/\p{C}/gu, "").replace(/\s+/gu, " ").trim();

/** What the open dialog is about: the name that is to be typed, and what is done then. */
let asked = { wanted: "", work: async () => undefined };

/**
 * Asks for the name of what is destroyed to be typed, as the console does, and does it then.
 *
 * @param about `title`; `effect`: what stops; `name` and `what` it is; `label` of the button.
 */
function destroy({ title, effect, name, what, label }, work) {
  asked = { wanted: asTyped(name), work };
  element("destroy-title").textContent = title;
  element("destroy-effect").textContent = effect;
  element("destroy-label").textContent = `Type the ${what} to go on`;
  element("destroy-name").textContent = asked.wanted;
  element("destroy-fault").hidden = true;
  element("destroy-go").textContent = label;
  element("destroy-typed").value = "";
  checkTyped();
  element("destroy").showModal();
  element("destroy-typed").focus();
}

function checkTyped() {
  element("destroy-go").disabled = asTyped(element("destroy-typed").value) !== asked.wanted;
}

element("destroy-typed").addEventListener("input", checkTyped);
element("destroy-cancel").addEventListener("click", () => element("destroy").close());
element("destroy-form").addEventListener("submit", (event) => {
  event.preventDefault();
  checkTyped();
  if (element("destroy-go").disabled) return;
  const { work } = asked;
  void attempt(
    async () => {
      await work();
      element("destroy").close();
      await load();
    },
    element("destroy-go"),
    element("destroy-fault"),
  );
});

const lastUse = (at) => (at ? `It was last used ${time(at)}.` : "It was never used.");

let personId;

async function load() {
  const { person, notices } = await call("/people/me");
  personId = person.id;
  const path = `/people/${person.id}`;
  const [{ passkeys }, { sessions }, { logins }, { methods }] = await Promise.all([
    call(`${path}/passkeys`),
    call(`${path}/sessions`),
    call(`${path}/logins`),
    call("/sign-in/methods"),
  ]);
  element("name").textContent = person.name;
  element("who").textContent = `${person.email} · ${ROLES[person.role]}`;
  element("passkeys").replaceChildren(
    ...passkeys.map(({ id, label, created_at, last_used_at, decides_from }) => {
      const used = last_used_at ? `used ${time(last_used_at)}` : "never used";
      const waits = Date.parse(decides_from) > Date.now() ? ` · confirms acts from ${time(decides_from)}` : "";
      return row(label, `made ${time(created_at)} · ${used}${waits}`, "Delete", () =>
        destroy(
          {
            title: "Delete this passkey",
            effect: `It will not sign you in any more. ${lastUse(last_used_at)}`,
            name: label,
            what: "name of the passkey",
            label: "Delete",
          },
          () => call(`${path}/passkeys/${id}`, { method: "DELETE" }),
        ),
      );
    }),
  );
  element("company").hidden = logins.length === 0 && !methods.includes("oidc");
  element("bind").hidden = !methods.includes("oidc");
  element("logins").replaceChildren(
    ...logins.map(({ id, issuer, label, created_at, last_used_at }) => {
      const used = last_used_at ? `used ${time(last_used_at)}` : "never used";
      return row(label ?? issuer, `of ${issuer} · added ${time(created_at)} · ${used}`, "Delete", () =>
        destroy(
          {
            title: "Delete this account of the company",
            effect: `It will not sign you in here any more. ${lastUse(last_used_at)}`,
            name: label ?? issuer,
            what: label === null ? "address of its provider" : "name of the account",
            label: "Delete",
          },
          () => call(`${path}/logins/${id}`, { method: "DELETE" }),
        ),
      );
    }),
  );
  element("sessions").replaceChildren(
    ...sessions.map((session) => {
      const { id, current, created_at, last_used_at, ip_address } = session;
      return row(
        program(session),
        `since ${time(created_at)} · used ${time(last_used_at)} · ${ip_address || "address not known"}`,
        current ? undefined : "End",
        () =>
          destroy(
            {
              title: "End this session",
              effect: `You will be signed out there. ${lastUse(last_used_at)}`,
              name: ip_address || id.slice(-6),
              what: ip_address ? "address of the session" : "last characters of the session's id",
              label: "End it",
            },
            () => call(`${path}/sessions/${id}`, { method: "DELETE" }),
          ),
      );
    }),
  );
  element("notices").replaceChildren(
    ...notices.map(({ at, kind, about, by }) =>
      row(`${about.name} ${KINDS[kind] ?? kind}`, `${time(at)} · by ${by.name ?? by.type}`),
    ),
  );
  element("account").hidden = false;
}

/** Whether the browser has just come from the provider, which has asked for a new proof. */
const hasProved = location.hash === "#enrol";

onClick(element("add"), async () => {
  // Whoever has no passkey to confirm it with proves anew who they are, at the provider: before one is made that would be refused.
  if (!hasProved && element("passkeys").childElementCount === 0 && !element("bind").hidden) {
    location.assign("/sign-in/oidc?enrol=true");
    return;
  }
  await enrolPasskey(personId);
  await load();
});

onClick(element("bind"), async () => {
  location.assign((await call(`/people/${personId}/logins`, { method: "POST" })).url);
});

onClick(element("sign-out"), async () => {
  await call("/sign-out", { method: "POST" });
  location.assign("/sign-in");
});

await attempt(async () => {
  try {
    if (location.hash) history.replaceState(null, "", location.pathname);
    await load();
    // Whoever has accepted an invitation with the company's account makes no passkey in this tab any more: see sign-in.js.
    sessionStorage.removeItem("enrolling");
  } catch (error) {
    // Nobody is signed in, or only by a link, which opens nothing here.
    if (error.code !== "sign_in_required" && error.code !== "role_required") throw error;
    location.replace("/sign-in");
  }
});
