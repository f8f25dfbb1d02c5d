import { createServer } from "node:http";
import { verifyWebhook } from "agentauth/webhook";

const secret = process.env.WEBHOOK_SECRET ?? "";

const server = createServer(async (request, response) => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    const event = await verifyWebhook(
      { body: Buffer.concat(chunks), headers: request.headers },
      secret,
    );
    console.log(event.event, event.data);
    response.writeHead(200).end();
  } catch (error) {
    console.error(String(error));
    response.writeHead(400).end();
  }
});
server.listen(Number(process.env.PORT ?? 9090), "127.0.0.1");
