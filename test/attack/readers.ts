import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "../outside/support/free-port.ts";
import type { Parameter } from "./parsers.ts";
import type { Arrival } from "./upstream.ts";

/** Parsers of real platforms, where they are installed. The careless ones of parsers.ts are always there. */
export interface Readers {
  /** What is installed and used. */
  readonly live: readonly string[];
  /** What is not, and how to install it. */
  readonly skipped: readonly string[];
  /** Every parameter that one of them reads from a request that arrived. */
  read(arrival: Arrival): Promise<Parameter[]>;
  stop(): void;
}

/** Tells what PHP itself has read from the request that it was sent. */
const PHP_ROUTER = `<?php
ini_set('display_errors', '0');
header('Content-Type: application/json');
$out = [];
foreach (['query' => $_GET, 'body' => $_POST + $_FILES] as $from => $all)
  foreach ($all as $name => $value) $out[] = [$from, (string)$name, json_encode($value, JSON_INVALID_UTF8_SUBSTITUTE)];
echo json_encode($out, JSON_INVALID_UTF8_SUBSTITUTE);
`;

/** Tells, a line for each request, what Rack reads from it. */
const RACK_READER = `
require "rack"
require "json"
require "base64"
$stdout.sync = true
text = ->(value) { value.to_s.dup.force_encoding("UTF-8").scrub }
$stdin.each_line do |line|
  query, type, body = JSON.parse(line).map { |part| Base64.decode64(part) }
  found = []
  env = Rack::MockRequest.env_for("/", method: "POST", input: body, "CONTENT_TYPE" => type)
  env["QUERY_STRING"] = query
  request = Rack::Request.new(env)
  begin
    request.GET.each { |name, value| found << ["query", text.(name), text.(value)] }
  rescue StandardError
  end
  begin
    request.POST.each { |name, value| found << ["body", text.(name), text.(value)] }
  rescue StandardError
  end
  puts JSON.generate(found)
end
`;

type Found = Array<[from: Parameter["from"], name: string, value: string]>;
type Live = (query: string, type: string, body: Buffer) => Promise<Found>;

/** Starts those that are installed. */
export async function startReaders(): Promise<Readers> {
  const directory = mkdtempSync(join(tmpdir(), "agentauth-attack-"));
  const children: ChildProcess[] = [];
  const live = new Map<string, Live>();
  const skipped: string[] = [];
  const php = version("php", ["-r", "echo PHP_VERSION;"]);
  if (php) live.set(`PHP ${php}`, await startPhp(directory, children));
  else skipped.push("PHP is not installed (Debian: apt-get install php-cli), so its parser is not asked.");
  const rack = version("ruby", ["-e", 'require "rack"; print Rack.release']);
  if (rack) live.set(`Rack ${rack}`, startRack(children));
  else skipped.push("Rack is not installed (Debian: apt-get install ruby-rack), so its parser is not asked.");

  return {
    live: [...live.keys()],
    skipped,
    async read(arrival) {
      const [, query = ""] = arrival.target.split(/\?(.*)/s);
      const type = arrival.headers.find(([name]) => name === "content-type")?.[1] ?? "";
      const asked = [...live].map(async ([parser, ask]): Promise<Parameter[]> => {
        const found = await ask(query, type, arrival.body);
        return found.map(([from, name, value]) => ({ parser, from, name, value }));
      });
      return (await Promise.all(asked)).flat();
    },
    stop() {
      for (const child of children) child.kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function version(command: string, args: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(command, args, { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

async function startPhp(directory: string, children: ChildProcess[]): Promise<Live> {
  const router = join(directory, "router.php");
  writeFileSync(router, PHP_ROUTER);
  const port = await freePort();
  children.push(spawn("php", ["-S", `127.0.0.1:${port}`, router], { stdio: "ignore", cwd: directory }));
  const ask: Live = async (query, type, body) => {
    // A query of PHP's own server may not hold white space.
    const target = `http://127.0.0.1:${port}/?${query.replace(/[^\x21-\x7e]/g, encodeURIComponent)}`;
    const answer = await fetch(target, {
      method: "POST",
      body: new Uint8Array(body),
      headers: type ? { "content-type": type } : {},
    });
    return (await answer.json()) as Found;
  };
  for (let tries = 0; ; tries++) {
    try {
      await ask("a=1", "", Buffer.alloc(0));
      return ask;
    } catch (error) {
      if (tries > 600) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function startRack(children: ChildProcess[]): Live {
  const child = spawn("ruby", ["-e", RACK_READER], { stdio: ["pipe", "pipe", "ignore"] });
  children.push(child);
  const waiting: Array<(line: string) => void> = [];
  createInterface({ input: child.stdout! }).on("line", (line) => waiting.shift()?.(line));
  return (query, type, body) =>
    new Promise((resolve) => {
      waiting.push((line) => resolve(JSON.parse(line) as Found));
      const parts = [Buffer.from(query, "latin1"), Buffer.from(type), body].map((part) => part.toString("base64"));
      child.stdin!.write(`${JSON.stringify(parts)}\n`);
    });
}
