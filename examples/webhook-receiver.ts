import { createServer } from "node:http";
import { verifyWebhook } from "agentauth/client/webhook";

const secret = process.env.WEBHOOK_SECRET ?? "";

const server = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  try {
    const event = await verifyWebhook({ body, headers: request.headers }, secret);
    console.log(event.event, event.data);
    response.writeHead(200).end();
  } catch (error) {
    console.error(String(error));
    response.writeHead(400).end();
  }
});
server.listen(Number(process.env.PORT ?? 9090), "127.0.0.1");
