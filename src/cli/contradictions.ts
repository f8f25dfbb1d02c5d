/**
 * Returns a sentence for each setting that contradicts another, or is wider than it should be in a deployment.
 *
 * @param settings those in force, by name.
 * @param secrets how many keys each secret has.
 */
export function contradictions(
  settings: Readonly<Record<string, unknown>>,
  secrets: Readonly<Record<string, number | undefined>>,
): string[] {
  const { ENVIRONMENT, REGISTRATION, CORS_ORIGINS, BOOTSTRAP } = settings;
  const isProduction = ENVIRONMENT !== "development";
  const seconds = (name: string): number => Number(settings[name] ?? 0);
  return [
    seconds("REFRESH_TOKEN_TTL_SECONDS") > seconds("REFRESH_FAMILY_TTL_SECONDS") &&
      "REFRESH_TOKEN_TTL_SECONDS is longer than REFRESH_FAMILY_TTL_SECONDS, which ends the session before. Shorten it.",
    seconds("ACCESS_TOKEN_TTL_SECONDS") > seconds("REFRESH_TOKEN_TTL_SECONDS") &&
      "ACCESS_TOKEN_TTL_SECONDS is longer than REFRESH_TOKEN_TTL_SECONDS: no token is ever refreshed. Shorten it.",
    isProduction &&
      REGISTRATION === "open" &&
      "REGISTRATION is open: anybody can register an agent that is active at once. Set it to approval or admin.",
    isProduction &&
      Array.isArray(CORS_ORIGINS) &&
      CORS_ORIGINS.includes("*") &&
      "CORS_ORIGINS has *: pages of every site can call this deployment with a token that they have. Name the origins.",
    isProduction &&
      BOOTSTRAP === "keep" &&
      (secrets.ADMIN_BOOTSTRAP_TOKEN ?? 0) > 0 &&
      "BOOTSTRAP is keep, and ADMIN_BOOTSTRAP_TOKEN is set: whoever has it registers administrators. Remove the secret once there are people.",
  ].filter((fault) => fault !== false);
}
