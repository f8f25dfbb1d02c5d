import { AgentAuthError, ConnectionError } from "../client/errors.ts";
import { EXIT, Failure, type ExitCode } from "./failure.ts";
import { visible } from "./visible.ts";

/** What went wrong, for people and for programs. */
export interface Problem {
  readonly exit: ExitCode;
  readonly code: string;
  /** Ends in a sentence that says what to do. */
  readonly message: string;
  readonly status?: number;
  readonly requestId?: string | undefined;
  /** Each fault of a request. */
  readonly details?: readonly string[];
}

const EXIT_BY_STATUS: Readonly<Record<number, ExitCode>> = {
  0: EXIT.unreachable,
  400: EXIT.invalid,
  401: EXIT.notSignedIn,
  403: EXIT.denied,
  404: EXIT.notFound,
  409: EXIT.conflict,
  413: EXIT.invalid,
  415: EXIT.invalid,
  422: EXIT.conflict,
  429: EXIT.rateLimited,
};

/** How the SDK says that something else has answered, by a redirect. */
const REDIRECTS = ": it redirects to ";

/** What to do about an error, beside what its message says. */
function advice(error: AgentAuthError): string {
  const { code, status, retryAfter } = error;
  if (error instanceof ConnectionError) {
    if (error.message.includes(REDIRECTS)) {
      return "Redirects are not followed: if the deployment has moved there, name its address there in --url or AGENTAUTH_URL.";
    }
    return "Check --url or AGENTAUTH_URL, and whether the deployment runs.";
  }
  if (code === "reauthentication_required")
    return "Sign in again with `agentauth login`, and repeat the command at once.";
  if (code === "malformed_api_key") {
    return `${error.message.includes("Copy the key again") ? "Then" : "Copy the key again, whole, and"} run \`agentauth login --agent\`.`;
  }
  if (status === 401) return "Sign in again with `agentauth login`.";
  if (code === "insufficient_permissions" || code === "role_required") {
    return "`agentauth whoami` says who you are; sign in as somebody who may do this.";
  }
  if (status === 403) return "";
  if (status === 404) return "Check the id: the lists of `agentauth` show the whole ids.";
  if (status === 429) return `Try again in ${retryAfter ?? 60} seconds.`;
  if (status >= 500) return "`agentauth doctor` says what is the matter with the deployment.";
  if (code === "unknown_field" || code === "unknown_parameter") {
    return "The deployment is of an older version than this command: update it.";
  }
  return "";
}

/** The SDK's advice names its own options. */
const sentenceOf = ({ message }: AgentAuthError): string =>
  message
    .replace(" Is AgentAuth running there? Is baseUrl right?", "")
    .replace(" Try again, or raise timeout.", "")
    .replace(" Check baseUrl.", "")
    .replace(" Give the client agentId and apiKey, or call verifyAgent.", "");

export function problemOf(error: unknown, signal: AbortSignal): Problem {
  if (signal.aborted) return { exit: EXIT.interrupted, code: "interrupted", message: "Interrupted." };
  if (error instanceof Failure) return { exit: error.exit, code: error.code, message: error.message };
  if (error instanceof AgentAuthError) {
    const { status, code, requestId, details } = error;
    return {
      // Whatever the status is: it says nothing of an agent or of who is signed in if something else has answered.
      exit: error instanceof ConnectionError ? EXIT.unreachable : (EXIT_BY_STATUS[status] ?? EXIT.failed),
      code,
      message: [sentenceOf(error), advice(error)].filter(Boolean).join(" "),
      status,
      requestId,
      details: details.map(({ field, permission, message }) =>
        [field ?? permission, message].filter(Boolean).join(": "),
      ),
    };
  }
  // An answer of another form than the command reads.
  if (error instanceof TypeError) {
    return {
      exit: EXIT.failed,
      code: "unexpected_answer",
      message: `The answer cannot be read as one of AgentAuth (${error.message}). Check --url or AGENTAUTH_URL, and whether the command is of the deployment's version; else it is a fault of the command: please report it.`,
    };
  }
  const { code, message } = error as NodeJS.ErrnoException;
  return {
    exit: EXIT.failed,
    code: code ?? "failed",
    message: `${message}. If this is not about a file or the network, it is a fault of the command: please report it.`,
  };
}

/** A problem in lines for people. */
export function describe({ message, details = [], requestId }: Problem): string {
  // A message that names the first fault says it in the same words.
  const unsaid = details.filter((detail) => !message.includes(detail));
  const lines = [`agentauth: ${visible(message)}`, ...unsaid.map((detail) => `  ${visible(detail)}`)];
  if (requestId) lines.push(`  (request ${visible(requestId)})`);
  return lines.join("\n");
}
