import { activityAnswers } from "../src/activity/answers.ts";
import { agentAnswers } from "../src/agents/answers.ts";
import { gatewayAnswers } from "../src/gateway/answers.ts";
import { healthAnswers } from "../src/http/health-answers.ts";
import { permissionAnswers } from "../src/permissions/answers.ts";
import { tokenAnswers } from "../src/tokens/answers.ts";
import { webhookAnswers } from "../src/webhooks/answers.ts";

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
