import { activityAnswers } from "../src/api/audit-responses.ts";
import { agentAnswers } from "../src/api/agent-responses.ts";
import { gatewayAnswers } from "../src/api/explain-responses.ts";
import { healthAnswers } from "../src/api/health-responses.ts";
import { permissionAnswers } from "../src/api/permission-responses.ts";
import { tokenAnswers } from "../src/api/token-responses.ts";
import { webhookAnswers } from "../src/api/webhook-responses.ts";

/** What every route answers when all is well, by method and path. */
export const ANSWERS = {
  ...agentAnswers,
  ...tokenAnswers,
  ...activityAnswers,
  ...webhookAnswers,
  ...permissionAnswers,
  ...gatewayAnswers,
  ...healthAnswers,
};
