// What the pages of people share: requests with the session's cookie, and passkeys. passkey.js is built from src/console/passkey.ts.
import { confirmWithPasskey, fromBase64Url, toBase64Url, toCredentials } from "./passkey.js";

// The colours that this browser has been given in the console: src/console/state.ts keeps them.
const theme = localStorage.getItem("agentauth-theme");
if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;

/** A time of the API as the console writes it. */
export const time = (text) =>
  new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" }).format(new Date(text));

/** A request that was refused, with the message that its response has. */
class Refused extends Error {
  constructor(body) {
    super(`${body.message ?? body.error ?? "The request failed."} (request ${body.request_id ?? "unknown"})`);
    this.code = body.code;
    this.body = body;
  }
}

async function send(path, { method = "GET", json, headers = {} } = {}) {
  const response = await fetch(path, {
    method,
    credentials: "same-origin",
    headers: {
      "X-AgentAuth-Console": "1",
      ...(json !== undefined && { "Content-Type": "application/json" }),
      ...headers,
    },
    ...(json !== undefined && { body: JSON.stringify(json) }),
  }).catch(() => undefined);
  // Whatever stands before AgentAuth may answer with something else.
  const body = await response?.json().catch(() => undefined);
  if (!body) throw new Error("AgentAuth cannot be reached. Try again.");
  if (!response.ok) throw new Refused(body);
  return body;
}

/** Sends a request, and once more with a passkey's confirmation if it is asked for. Returns the body of the response. */
export async function call(path, init = {}) {
  try {
    return await send(path, init);
  } catch (error) {
    if (error.code !== "reauthentication_required" || !error.body.assertion?.allowCredentials.length) throw error;
    const assertion = await confirmWithPasskey(error.body.assertion);
    return send(path, { ...init, headers: { ...init.headers, "AgentAuth-Assertion": assertion } });
  }
}

/** Makes a passkey for a person, and enrols it. */
export async function enrolPasskey(personId) {
  const { options } = await call(`/people/${personId}/passkeys/options`, { method: "POST" });
  const { response } = await navigator.credentials.create({
    publicKey: {
      ...options,
      challenge: fromBase64Url(options.challenge),
      user: { ...options.user, id: fromBase64Url(options.user.id) },
      excludeCredentials: toCredentials(options.excludeCredentials),
    },
  });
  return call(`/people/${personId}/passkeys`, {
    method: "POST",
    json: {
      label: labelOfDevice(),
      clientDataJSON: toBase64Url(response.clientDataJSON),
      attestationObject: toBase64Url(response.attestationObject),
    },
  });
}

function labelOfDevice() {
  const platform = navigator.userAgentData?.platform ?? navigator.platform ?? "";
  return /^[\w ./-]{1,40}$/.test(platform) ? `Passkey of ${platform}` : "Passkey";
}

/** Runs what a button does, once at a time, and shows what went wrong. */
export function onClick(button, action) {
  button.addEventListener("click", () => attempt(action, button));
}

/** What a browser's errors mean here. */
const WORDS = {
  NotAllowedError: "No passkey was used: the request was cancelled, or took too long. Try again.",
  InvalidStateError: "This device has a passkey of yours already. Use another device, or another password manager.",
};

/** Runs an action, and shows what went wrong. @param fault where. */
export async function attempt(action, button, fault = document.getElementById("fault")) {
  fault.hidden = true;
  if (button) button.disabled = true;
  try {
    await action();
  } catch (error) {
    fault.textContent = WORDS[error.name] ?? error.message;
    fault.hidden = false;
  } finally {
    if (button) button.disabled = false;
  }
}
