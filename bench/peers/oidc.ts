import { Provider, type Adapter, type AdapterPayload } from "oidc-provider";
import { openDatabase } from "./sqlite.ts";

/**
 * oidc-provider with rotating refresh tokens and ES256 JWT access tokens, its models in better-sqlite3.
 *
 * `node bench/peers/oidc.ts PORT`, with `BENCH_OIDC` = `{database, jwk}`. `POST /seed?count=N` opens sessions and answers with
 * their refresh tokens; `POST /token` refreshes.
 */
const port = Number(process.argv[2]);
const { database, jwk } = JSON.parse(process.env.BENCH_OIDC!) as { database: string; jwk: Record<string, string> };
const RESOURCE = "https://api.example.com";
const CLIENT = "bench";

const db = openDatabase(database);
db.exec(`CREATE TABLE models (name TEXT, id TEXT, grant_id TEXT, expires_at INTEGER, consumed_at INTEGER, payload TEXT,
  PRIMARY KEY (name, id)) WITHOUT ROWID; CREATE INDEX by_grant ON models (grant_id);`);
const upsert = db.prepare("INSERT OR REPLACE INTO models VALUES (?, ?, ?, ?, NULL, ?)");
const find = db.prepare<[string, string], { payload: string; consumed_at: number | null }>(
  "SELECT payload, consumed_at FROM models WHERE name = ? AND id = ?",
);
const consume = db.prepare("UPDATE models SET consumed_at = ? WHERE name = ? AND id = ?");
const destroy = db.prepare("DELETE FROM models WHERE name = ? AND id = ?");
const revoke = db.prepare("DELETE FROM models WHERE grant_id = ?");

const adapter = (name: string): Adapter => ({
  async upsert(id, payload, expiresIn = 86_400) {
    upsert.run(name, id, payload.grantId ?? null, Math.floor(Date.now() / 1000) + expiresIn, JSON.stringify(payload));
  },
  async find(id) {
    const row = find.get(name, id);
    if (!row) return undefined;
    const payload = JSON.parse(row.payload) as AdapterPayload;
    return row.consumed_at === null ? payload : { ...payload, consumed: row.consumed_at };
  },
  async consume(id) {
    consume.run(Math.floor(Date.now() / 1000), name, id);
  },
  async destroy(id) {
    destroy.run(name, id);
  },
  async revokeByGrantId(grantId) {
    revoke.run(grantId);
  },
  findByUid: async () => undefined,
  findByUserCode: async () => undefined,
});

const provider = new Provider(`http://127.0.0.1:${port}`, {
  adapter,
  jwks: { keys: [{ ...jwk, use: "sig", alg: "ES256" }] as never },
  clients: [
    {
      client_id: CLIENT,
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code", "refresh_token"],
      redirect_uris: ["https://client.example.com/callback"],
      id_token_signed_response_alg: "ES256",
    },
  ],
  findAccount: (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  rotateRefreshToken: true,
  scopes: ["offline_access"],
  features: {
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: "read write",
        accessTokenFormat: "jwt",
        accessTokenTTL: 900,
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
  ttl: { RefreshToken: 86_400, Grant: 86_400, AccessToken: 900 },
});

provider.use(async (ctx, next) => {
  if (ctx.path !== "/seed") return next();
  const client = (await provider.Client.find(CLIENT))!;
  const tokens: string[] = [];
  for (let i = 0; i < Number(ctx.query.count); i++) {
    const grant = new provider.Grant({ accountId: "account", clientId: CLIENT });
    grant.addOIDCScope("offline_access");
    grant.addResourceScope(RESOURCE, "read write");
    const grantId = await grant.save();
    const token = new provider.RefreshToken({
      accountId: "account",
      client,
      grantId,
      gty: "authorization_code",
      scope: "offline_access read write",
      resource: RESOURCE,
      rotations: 0,
      iiat: Math.floor(Date.now() / 1000),
    } as never);
    tokens.push(await token.save());
  }
  ctx.body = tokens;
});
provider.listen(port, "127.0.0.1");
