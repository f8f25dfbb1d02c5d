import { createServer } from "node:net";
import { messageReader } from "./wire.ts";

/**
 * The receivers of webhooks, all behind one port: answers 200 to every POST and counts. `GET /counts` says how many came, how
 * many of them were different, to how many paths, and when the first and the last one came.
 *
 * `node bench/receiver.ts PORT`. `messageReader` tells the head and the length of a message and not its text, so signatures are
 * left to the tests of the product.
 */
const ids = new Set<string>();
const paths = new Set<string>();
let received = 0;
let unsigned = 0;
let firstAt = 0;
let lastAt = 0;

const OK = Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok");

createServer((socket) => {
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.on(
    "data",
    messageReader((head) => {
      if (head.startsWith("GET")) {
        const text = JSON.stringify({ received, different: ids.size, paths: paths.size, unsigned, firstAt, lastAt });
        socket.write(
          `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
        );
        return;
      }
      received++;
      ids.add(/\r\nwebhook-id: *(\S+)/i.exec(head)?.[1] ?? "");
      if (!/\r\nwebhook-signature: *v1,/i.test(head)) unsigned++;
      paths.add(head.split(" ", 2)[1]!);
      lastAt = Date.now();
      firstAt ||= lastAt;
      socket.write(OK);
    }),
  );
}).listen(Number(process.argv[2]), "127.0.0.1");
