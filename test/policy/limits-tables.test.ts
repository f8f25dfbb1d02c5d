import { describe, expect, it } from "vitest";
import { compileLimits, type LimitDefinition } from "../../src/policy/limits.ts";
import { parseRule } from "../../src/policy/rule.ts";
import { github } from "../../src/policy/services/github.ts";
import { hubspot } from "../../src/policy/services/hubspot.ts";
import { githubLimits } from "../../src/policy/services/limits/github.ts";
import { hubspotLimits } from "../../src/policy/services/limits/hubspot.ts";
import { salesforceLimits } from "../../src/policy/services/limits/salesforce.ts";
import { slackLimits } from "../../src/policy/services/limits/slack.ts";
import { stripeLimits } from "../../src/policy/services/limits/stripe.ts";
import { zendeskLimits } from "../../src/policy/services/limits/zendesk.ts";
import { salesforce } from "../../src/policy/services/salesforce.ts";
import { slack } from "../../src/policy/services/slack.ts";
import { stripe } from "../../src/policy/services/stripe.ts";
import { zendesk } from "../../src/policy/services/zendesk.ts";
import type { ServiceDefinition } from "../../src/policy/service-definition.ts";

describe("what a built-in service lets grants limit", () => {
  it.each<[ServiceDefinition, Readonly<Record<string, LimitDefinition>>]>([
    [github, githubLimits],
    [hubspot, hubspotLimits],
    [salesforce, salesforceLimits],
    [slack, slackLimits],
    [stripe, stripeLimits],
    [zendesk, zendeskLimits],
  ])("names fields of its own rules only: $name", ({ name, rules }, limits) => {
    const parsed = rules.flatMap((line) => parseRule(line, name));
    const fields = compileLimits(limits, parsed);
    expect(fields.size).toBeGreaterThan(0);
    for (const field of fields.values()) expect(field.rules.size).toBeGreaterThan(0);
  });
});
