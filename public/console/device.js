import { attempt, call, onClick, time } from "./api.js";
import { getPasskey } from "./passkey.js";

const element = (id) => document.getElementById(id);
const sections = ["sign-in", "code", "consent", "done"];
const show = (id) => sections.forEach((one) => (element(one).hidden = one !== id));
const post = (path, json) => call(path, { method: "POST", json });

let person;

async function begin() {
  try {
    ({ person } = await call("/people/me"));
  } catch (error) {
    if (error.code !== "sign_in_required") throw error;
    show("sign-in");
    return;
  }
  element("who").textContent = person.email;
  show("code");
  element("typed").focus();
}

onClick(element("passkey"), async () => {
  const { options } = await post("/sign-in/passkey/options");
  await post("/sign-in/passkey/verify", await getPasskey(options));
  await begin();
});

// Typed by hand each time: a code in the address, which somebody could have sent, is not looked at.
element("code").addEventListener("submit", (event) => {
  event.preventDefault();
  void attempt(lookUp, element("look"));
});

/** What was looked up. What is decided is this, and not what stands in the field by then. */
let userCode;

async function lookUp() {
  userCode = element("typed").value;
  const found = await post("/sign-in/device", { user_code: userCode });
  element("client").textContent = found.client;
  element("person").textContent = person.email;
  element("address").textContent = found.ip_address || "not known";
  element("started").textContent = time(found.created_at);
  element("agent").textContent = found.user_agent || "nothing";
  element("where").textContent = found.ip_address
    ? "It does not run at the address of this browser."
    : "At which address it runs is not known.";
  element("elsewhere").hidden = found.same_address;
  show("consent");
}

async function decide(decision) {
  const { message } = await post("/sign-in/device/decide", { user_code: userCode, decision });
  element("outcome").textContent = message;
  show("done");
}

onClick(element("approve"), () => decide("approved"));
onClick(element("deny"), () => decide("denied"));

await attempt(begin);
