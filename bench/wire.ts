/** Where the reader stands in a message. */
type State = "head" | "body" | "chunk-size";

/**
 * Reads HTTP/1.1 messages off a byte stream and tells of each as it ends: its head and the length of its body.
 *
 * The load generator and the upstream stand on bare sockets with this between, because Node's own `http` costs several times
 * what is being measured.
 */
export function messageReader(onMessage: (head: string, bodyLength: number) => void): (chunk: Buffer) => void {
  let pending: Buffer = Buffer.alloc(0);
  let state: State = "head";
  let head = "";
  let length = 0;
  let remaining = 0;
  let chunked = false;

  const finish = () => {
    state = "head";
    onMessage(head, length);
  };

  return (chunk) => {
    let data = pending.length > 0 ? Buffer.concat([pending, chunk]) : chunk;
    pending = Buffer.alloc(0);
    while (data.length > 0) {
      if (state === "head") {
        const end = data.indexOf("\r\n\r\n");
        if (end === -1) break;
        head = data.latin1Slice(0, end);
        data = data.subarray(end + 4);
        chunked = /\r\ntransfer-encoding: *chunked/i.test(head);
        remaining = length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
        if (chunked) state = "chunk-size";
        else if (remaining > 0) state = "body";
        else finish();
      } else if (state === "body") {
        const taken = Math.min(remaining, data.length);
        remaining -= taken;
        data = data.subarray(taken);
        if (remaining > 0) continue;
        if (chunked) state = "chunk-size";
        else finish();
      } else {
        const end = data.indexOf("\r\n");
        if (end === -1) break;
        const size = Number.parseInt(data.latin1Slice(0, end), 16);
        if (size === 0) {
          if (data.length < end + 4) break;
          data = data.subarray(end + 4);
          finish();
          continue;
        }
        data = data.subarray(end + 2);
        length += size;
        // The chunk's own end of line is counted with it.
        remaining = size + 2;
        state = "body";
      }
    }
    if (data.length > 0) pending = Buffer.from(data);
  };
}
