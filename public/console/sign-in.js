import { attempt, call, enrolPasskey, getPasskey, onClick } from "./api.js";

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

onClick(element("passkey"), signIn);
onClick(element("first"), signIn);

/** Whose passkey this tab makes: the page may be loaded again after the link was used, while its session lasts. */
const ENROLLING = "enrolling";

onClick(element("make"), async () => {
  try {
    await enrolPasskey(sessionStorage.getItem(ENROLLING));
  } catch (error) {
    if (error.code === "sign_in_required") {
      sessionStorage.removeItem(ENROLLING);
      show("sign-in");
    }
    throw error;
  }
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
  return type === "bootstrap" ? "the operator of this deployment" : "this deployment";
}

/** The token of a link is in the fragment, which no server is sent. It leaves the address bar and the history at once. */
const token = new URLSearchParams(location.hash.slice(1)).get("link");
if (token === null) {
  show(sessionStorage.getItem(ENROLLING) === null ? "sign-in" : "enrol");
} else {
  history.replaceState(null, "", location.pathname);
  sessionStorage.removeItem(ENROLLING);
  await attempt(() => openLink(token));
}
