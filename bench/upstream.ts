import { createServer } from "node:net";
import { messageReader } from "./wire.ts";

/**
 * The API behind every proxy: answers a GET with 1 KB, one below `/contents/` with 1 MB, and a POST with 1 KB once its whole body has
 * come. The headers are as many as GitHub's.
 *
 * Runs as a process of its own: `node bench/upstream.ts PORT`.
 */
const HEADERS = [
  "Content-Type: application/json; charset=utf-8",
  "Cache-Control: private, max-age=60, s-maxage=60",
  "Vary: Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding, Accept, X-Requested-With",
  'ETag: "644b5b0155e6404a9cc4bd9d8b1ae730"',
  "Last-Modified: Mon, 23 Nov 2026 10:00:00 GMT",
  "X-OAuth-Scopes: repo, user",
  "X-Accepted-OAuth-Scopes: repo",
  "X-GitHub-Media-Type: github.v3; format=json",
  "X-GitHub-Request-Id: C0DE:1B2A:3C4D5E:6F7081:67421A3B",
  "X-RateLimit-Limit: 5000",
  "X-RateLimit-Remaining: 4987",
  "X-RateLimit-Reset: 1795428000",
  "X-RateLimit-Used: 13",
  "X-RateLimit-Resource: core",
  "X-Content-Type-Options: nosniff",
  "Server: github.com",
];

const ISSUE =
  '{"id":1,"number":5,"title":"Found a bug","state":"open","url":"https://api.github.com/repos/octo/hello/issues/5","user":{"login":"octo","id":1}}';

/** A JSON array of issues, exactly so many bytes long. */
function issues(size: number): string {
  const list = `[${Array(Math.floor((size - 20) / (ISSUE.length + 1)))
    .fill(ISSUE)
    .join()},""]`;
  return list.replace('""', JSON.stringify("x".repeat(size - list.length)));
}

const answer = (status: string, size: number): Buffer =>
  Buffer.from(`HTTP/1.1 ${status}\r\n${HEADERS.join("\r\n")}\r\nContent-Length: ${size}\r\n\r\n${issues(size)}`);

const small = answer("200 OK", 1024);
const large = answer("200 OK", 1024 * 1024);
const created = answer("201 Created", 1024);

createServer((socket) => {
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.on(
    "data",
    messageReader((head) => {
      const line = head.slice(0, head.indexOf("\r\n"));
      if (line.startsWith("POST")) socket.write(created);
      else socket.write(line.includes("/contents/") ? large : small);
    }),
  );
}).listen(Number(process.argv[2]), "127.0.0.1");
