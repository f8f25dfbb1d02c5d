import { apiKey } from "@better-auth/api-key";
import { serve } from "@hono/node-server";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { jwt } from "better-auth/plugins";
import { Hono } from "hono";
import { openDatabase } from "./sqlite.ts";

/**
 * An API key for a signed token with Better Auth: its api-key plugin and its JWT plugin on Hono and better-sqlite3. Its rate
 * limit, its telemetry and the encryption of its signing key are off; keys are hashed, tokens are ES256.
 *
 * `node bench/peers/better-auth.ts PORT`, with `BENCH_DATABASE`. `POST /seed?count=N` makes keys.
 */
const auth = betterAuth({
  database: openDatabase(process.env.BENCH_DATABASE!),
  secret: "bench-secret-of-thirty-two-characters",
  baseURL: `http://127.0.0.1:${process.argv[2]}`,
  emailAndPassword: { enabled: true },
  telemetry: { enabled: false },
  plugins: [
    apiKey({ rateLimit: { enabled: false } }),
    jwt({ jwks: { keyPairConfig: { alg: "ES256" }, disablePrivateKeyEncryption: true } }),
  ],
});
await (await getMigrations(auth.options)).runMigrations();

const app = new Hono();
app.post("/seed", async (c) => {
  const { user } = await auth.api.signUpEmail({
    body: { name: "bench", email: "bench@example.com", password: "a-password-of-some-length" },
  });
  const keys: string[] = [];
  for (let i = 0; i < Number(c.req.query("count")); i++) {
    const { key } = await auth.api.createApiKey({ body: { userId: user.id, name: `bench ${i}` } });
    keys.push(key);
  }
  return c.json(keys);
});
app.post("/verify", async (c) => {
  const { api_key: key } = await c.req.json<{ api_key: string }>();
  const { valid, key: found } = await auth.api.verifyApiKey({ body: { key } });
  if (!valid || !found) return c.json({ error: "refused" }, 401);
  const payload = { sub: found.referenceId, scope: "github:issues:read github:issues:write", client_id: found.id };
  const { token } = await auth.api.signJWT({ body: { payload } });
  return c.json({ access_token: token, token_type: "Bearer", expires_in: 900 });
});
serve({ fetch: app.fetch, port: Number(process.argv[2]), hostname: "127.0.0.1" });
