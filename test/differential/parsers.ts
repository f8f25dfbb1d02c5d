import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "../outside/support/free-port.ts";

/** The parameters of a request as a parser reads them: names at the top, and what is below them. */
export type Parameters = Readonly<Record<string, unknown>>;

/** A form as it comes over the wire. */
export interface Form {
  readonly contentType: string;
  readonly body: Uint8Array;
}

export const URLENCODED = "application/x-www-form-urlencoded";

/** A real parser of an upstream, in a process of its own. */
export interface Parser {
  readonly name: string;
  readQueries(queries: readonly string[]): Promise<Parameters[]>;
  readForms(forms: readonly Form[]): Promise<Parameters[]>;
  stop(): void;
}

const here = (file: string) => join(import.meta.dirname, file);

const runs = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0;

/** Whether PHP and Ruby's Rack are installed (Debian's php-cli, ruby and ruby-rack). */
export const areInstalled = (): boolean => runs("php", "--version") && runs("ruby", "-e", 'require "rack"');

/** A process that answers each line of base64 with a line of JSON. */
function lineParser(command: string, args: readonly string[]) {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    child,
    async read(requests: readonly string[]): Promise<Parameters[]> {
      void (async () => {
        for (const text of requests) if (!child.stdin.write(`${text}\n`)) await once(child.stdin, "drain");
      })();
      const answers: Parameters[] = [];
      for (const _ of requests) {
        const { value, done } = await lines.next();
        if (done) throw new Error(`${command} ended`);
        answers.push(JSON.parse(value) as Parameters);
      }
      return answers;
    },
  };
}

const base64 = (bytes: string | Uint8Array): string => Buffer.from(bytes).toString("base64");

/**
 * PHP's own parsers: `parse_str` for queries and those of requests for forms.
 *
 * @param separators what separates parameters: `&`, or `;&` as some configure it.
 */
export async function startPhp(separators: string): Promise<Parser> {
  const queries = lineParser("php", ["-d", `arg_separator.input=${separators}`, here("queries.php")]);
  const port = await freePort();
  const settings = ["log_errors=0", "display_errors=0", "max_input_vars=5000", "max_file_uploads=5000"];
  const options = settings.flatMap((setting) => ["-d", setting]);
  const server = spawn("php", [...options, "-S", `127.0.0.1:${port}`, here("forms.php")], { stdio: "ignore" });
  await listening(port, server);
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  return {
    name: "php",
    readQueries: (texts) => queries.read(texts.map(base64)),
    // A urlencoded form is read by the same function as a query, which is faster to ask.
    readForms: (forms) =>
      forms[0]?.contentType === URLENCODED
        ? queries.read(forms.map(({ body }) => base64(body)))
        : Promise.all(forms.map((form) => post(port, agent, form))),
    stop() {
      agent.destroy();
      server.kill();
      queries.child.kill();
    },
  };
}

/**
 * Rack's parsers: what Rails and Sinatra use.
 *
 * @param separators `&`, as since Rack 3, or `&;` as before.
 */
export function startRack(separators: string): Parser {
  const { child, read } = lineParser("ruby", [here("rack.rb"), separators]);
  return {
    name: "rack",
    readQueries: (queries) => read(queries.map((query) => `- ${base64(query)}`)),
    readForms: (forms) => read(forms.map(({ contentType, body }) => `${base64(contentType)} ${base64(body)}`)),
    stop: () => void child.kill(),
  };
}

async function listening(port: number, server: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 1200 && server.exitCode === null; attempt++) {
    const answered = await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    );
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("php -S did not start");
}

function post(port: number, agent: Agent, { contentType, body }: Form): Promise<Parameters> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": contentType, "content-length": body.length };
    const sent = request({ host: "127.0.0.1", port, method: "POST", agent, headers }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      answer.on("end", () => resolve(JSON.parse(text) as Parameters));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}
