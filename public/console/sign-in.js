import { attempt, call, enrolPasskey, onClick } from "./api.js";
import { getPasskey } from "./passkey.js";

const element = (id) => document.getElementById(id);
const sections = ["sign-in", "link", "enrol", "enrolled", "other"];
const show = (id) => sections.forEach((one) => (element(one).hidden = one !== id));

/** Where the console has written down which of its screens was left. */
const RETURN_PATH = "agentauth-return";

async function signIn() {
  const { options } = await call("/sign-in/passkey/options", { method: "POST" });
  await call("/sign-in/passkey/verify", { method: "POST", json: await getPasskey(options) });
  // To the screen of the console that this tab has left, or to the account: no address of a query is followed.
  const left = sessionStorage.getItem(RETURN_PATH);
  sessionStorage.removeItem(RETURN_PATH);
  location.assign(left !== null && /^\/console(?:[/?]|$)/.test(left) ? left : "/account");
}

/** What the provider's answer has led to: a login that signed nobody in leads back here. */
const FAULTS = {
  provider_unavailable: "The company's sign-in does not answer as it should. Try again, or use a passkey.",
  login_expired: "Signing in took too long, or was begun in another browser. Try again.",
  login_cancelled: "Signing in with the company's account was cancelled.",
  login_not_bound: "This account is somebody else's here already, or you have too many of them. Nothing was changed.",
  sign_in_refused:
    "This account of the company signs nobody in here. Whoever was invited uses the link of the invitation first; others ask an administrator.",
};

/** Nothing waits for this: without an answer there are the ways of signing in that every deployment has. */
call("/sign-in/methods").then(
  ({ methods }) => {
    element("company").hidden = element("bind").hidden = !methods.includes("oidc");
  },
  () => undefined,
);

onClick(element("company"), () => location.assign("/sign-in/oidc"));
onClick(element("bind"), async () => {
  const path = `/people/${sessionStorage.getItem(ENROLLING)}/logins`;
  location.assign((await enrolling(() => call(path, { method: "POST" }))).url);
});

onClick(element("passkey"), signIn);
onClick(element("first"), signIn);

/** Whose passkey this tab makes: the page may be loaded again after the link was used, while its session lasts. */
const ENROLLING = "enrolling";

/** Does something in the session of a link. If it has ended, the page for signing in is shown. */
async function enrolling(action) {
  try {
    return await action();
  } catch (error) {
    if (error.code === "sign_in_required") {
      sessionStorage.removeItem(ENROLLING);
      show("sign-in");
    }
    throw error;
  }
}

onClick(element("make"), async () => {
  await enrolling(() => enrolPasskey(sessionStorage.getItem(ENROLLING)));
  sessionStorage.removeItem(ENROLLING);
  show("enrolled");
});

async function openLink(token) {
  const link = await call("/sign-in/link", { method: "POST", json: { token } }).catch((error) => {
    show(error.code === "signed_in_already" ? "other" : "sign-in");
    throw error;
  });
  element("link-email").textContent = link.email;
  element("link-name").textContent = link.email;
  element("link-by").textContent = `It was made by ${maker(link.created_by)}.`;
  onClick(element("accept"), async () => {
    await call("/sign-in/link", { method: "POST", json: { token, person_id: link.person_id } });
    sessionStorage.setItem(ENROLLING, link.person_id);
    show("enrol");
  });
  show("link");
}

function maker({ type, name }) {
  if (type === "person") return name ?? "an administrator";
  return type === "bootstrap" ? "the operator of this deployment" : (name ?? "this deployment");
}

/** The token of a link is in the fragment, which no server is sent. It leaves the address bar and the history at once. */
const fragment = new URLSearchParams(location.hash.slice(1));
const token = fragment.get("link");
if (location.hash) history.replaceState(null, "", location.pathname);
if (token === null) {
  show(sessionStorage.getItem(ENROLLING) === null ? "sign-in" : "enrol");
  const fault = fragment.get("fault");
  if (Object.hasOwn(FAULTS, fault)) await attempt(() => Promise.reject(new Error(FAULTS[fault])));
} else {
  sessionStorage.removeItem(ENROLLING);
  await attempt(() => openLink(token));
}
