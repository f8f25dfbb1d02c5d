import { activityResponses } from "../src/api/audit-responses.ts";
import { agentResponses } from "../src/api/agent-responses.ts";
import { explainResponses } from "../src/api/explain-responses.ts";
import { healthResponses } from "../src/api/health-responses.ts";
import { permissionResponses } from "../src/api/permission-responses.ts";
import { tokenResponses } from "../src/api/token-responses.ts";
import { webhookResponses } from "../src/api/webhook-responses.ts";

/** What every route answers when all is well, by method and path. */
export const ANSWERS = {
  ...agentResponses,
  ...tokenResponses,
  ...activityResponses,
  ...webhookResponses,
  ...permissionResponses,
  ...explainResponses,
  ...healthResponses,
};
