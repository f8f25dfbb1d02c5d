import { describe, expect, it } from "vitest";
import { settingNames } from "../../src/config/config.ts";
import { testSecrets } from "../support/secrets.ts";
import { world } from "../support/world.ts";

describe("GET /settings", () => {
  it("says what is in force, and what is misspelt, without a value of a secret", async () => {
    const self = world({
      ACTIVITY_RETENTION_DAYS: "30",
      ACTIVITY_RETENTON_DAYS: "a-value-of-somebody",
      OTLP_ENDPOINT: "https://otlp.example.com/a-token-in-the-path",
      OTLP_HEADERS: "authorization=a-header-of-somebody",
    });
    const { token } = await self.admin();
    const { status, body } = await self.call("/settings", { token });
    expect(status).toBe(200);
    expect(body.settings).toMatchObject({
      ISSUER: "https://auth.example.com",
      ACTIVITY_RETENTION_DAYS: 30,
      OTLP_ENDPOINT: "https://otlp.example.com",
    });
    expect(body.secrets).toMatchObject({ SIGNING_KEYS: expect.any(Number), ADMIN_BOOTSTRAP_TOKEN: 1 });
    expect(body.warnings).toEqual([expect.stringContaining("ACTIVITY_RETENTON_DAYS")]);
    const text = JSON.stringify(body);
    for (const secret of [
      ...Object.values(testSecrets),
      "a-value-of-somebody",
      "a-token-in-the-path",
      "a-header-of-somebody",
    ]) {
      expect(text.includes(String(secret).slice(0, 40))).toBe(false);
    }
    expect([...Object.keys(body.settings), ...Object.keys(body.secrets)].toSorted()).toEqual(settingNames().toSorted());
    const { token: other } = await self.agent();
    expect((await self.call("/settings", { token: other })).status).toBe(403);
  });
});
