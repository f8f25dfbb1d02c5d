import type { LimitDefinition } from "../../limits.ts";

const line =
  (permission: string) =>
  (method: string): string =>
    `GET,POST /api/${method} ${permission}`;
const lines = (permission: string, methods: string): string[] => methods.split(" ").map(line(permission));

/**
 * Methods whose only argument for a channel is `channel`. `chat.unfurl` may name a message in another way, `conversations.open` a
 * channel by its people, and `conversations.list` and `conversations.create` none: they are not here.
 */
const CHANNEL = [
  ...lines(
    "messages:read",
    "chat.getPermalink chat.scheduledMessages.list conversations.history conversations.replies",
  ),
  ...lines(
    "messages:write",
    "chat.appendStream chat.delete chat.deleteScheduledMessage chat.meMessage chat.postEphemeral chat.postMessage " +
      "chat.scheduleMessage chat.startStream chat.stopStream chat.update",
  ),
  ...lines("channels:read", "conversations.info conversations.members"),
  ...lines(
    "channels:write",
    "conversations.archive conversations.close conversations.invite conversations.join conversations.kick " +
      "conversations.leave conversations.mark conversations.rename conversations.setPurpose conversations.setTopic " +
      "conversations.unarchive",
  ),
];

/**
 * What grants may limit at Slack. A channel is limited as it is written: a limit to an id (`C0123`) denies the channel's name, and the
 * other way around. Slack reads arguments from the query, a form or JSON alike; `query.channel` is for clients that send GET.
 */
export const slackLimits: Readonly<Record<string, LimitDefinition>> = {
  "body.channel": { alone: CHANNEL },
  "query.channel": { alone: CHANNEL },
};
