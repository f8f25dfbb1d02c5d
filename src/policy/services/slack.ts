import type { Preset, ServiceDefinition } from "../service-definition.ts";
import { slackLimits } from "./limits/slack.ts";

/** By permission. The method name decides, never the HTTP verb: Slack's own client sends POST for all of them. */
const METHODS: Readonly<Record<string, string>> = {
  "messages:read":
    "chat.getPermalink chat.scheduledMessages.list " +
    // The history of a channel is messages: Slack requires `*:history` for it, not `channels:read`.
    "conversations.history conversations.replies",
  "messages:write":
    "chat.appendStream chat.delete chat.deleteScheduledMessage chat.meMessage chat.postEphemeral chat.postMessage " +
    "chat.scheduleMessage chat.startStream chat.stopStream chat.unfurl chat.update",
  "channels:read": "conversations.info conversations.list conversations.members",
  // Without the invitations of Slack Connect, which open a channel to another company, and without canvases.
  "channels:write":
    "conversations.archive conversations.close conversations.create conversations.invite conversations.join " +
    "conversations.kick conversations.leave conversations.mark conversations.open conversations.rename " +
    "conversations.setPurpose conversations.setTopic conversations.unarchive",
};

/** Members of a file with its images. `thumb_url` is not one: it is that of a web page which a message names. */
const THUMBNAILS = [64, 80, 160, 360, 480, 720, 800, 960, 1024]
  .flatMap((size) => [`thumb_${size}`, `thumb_${size}_gif`])
  .concat("thumb_gif", "thumb_pdf", "thumb_video");

const rulesOf = (methods: Readonly<Record<string, string>>): string[] =>
  Object.entries(methods).flatMap(([permission, names]) =>
    names.split(" ").map((name) => `GET,POST /api/${name} ${permission}`),
  );

const presets: Readonly<Record<string, Preset>> = {
  reactions: {
    title: "reactions to messages",
    resources: { reactions: ["read", "write"] },
    rules: rulesOf({
      // The messages that have them are in the answer.
      "reactions:read+messages:read": "reactions.get reactions.list",
      "reactions:write": "reactions.add reactions.remove",
    }),
  },
  users: {
    title: "users, their profiles, addresses and presence",
    resources: { users: ["read"] },
    rules: rulesOf({
      "users:read": "users.getPresence users.info users.list users.lookupByEmail users.profile.get",
      "users:read+channels:read": "users.conversations",
    }),
  },
  "auth-test": {
    title: "which team and user the credential belongs to",
    resources: { auth: ["read"] },
    rules: rulesOf({ "auth:read": "auth.test" }),
  },
};

/** Administration, several resources at once, other companies, and what gives out a credential, a socket or a URL for uploads. */
const refused = [
  ...[
    "admin",
    "apps",
    "dialog",
    "functions",
    "migration",
    "oauth",
    "openid",
    "rtm",
    "search",
    "team",
    "tooling",
    "views",
    "workflows",
  ].map((family) => `* /api/${family}.{method}`),
  "* /api/{method:auth.revoke|auth.teams.list|users.deletePhoto|users.identity|users.profile.set|users.setPhoto}",
  "* /api/{method:files.getUploadURLExternal|files.completeUploadExternal|files.upload|files.sharedPublicURL}",
  "* /api/files.remote.{method}",
  "* /api/conversations.{method:acceptSharedInvite|approveSharedInvite|declineSharedInvite|inviteShared|listConnectInvites}",
  "* /api/conversations.externalInvitePermissions.set",
  "* /api/conversations.requestSharedInvite.{method}",
];

/** Slack Web API, from the methods of `@slack/web-api`. */
export const slack: ServiceDefinition = {
  name: "slack",
  baseUrl: "https://slack.com/api",
  pathPrefix: "/api",
  // In a form it could not be told from the credential's own place.
  tokenHint:
    "Slack's clients that write the token into the form, as `token`, have to send it as a header: `new WebClient(token)`, `WebClient(token=token)`, or `headers`.",
  credential: { scheme: "bearer" },
  // Slack reads arguments, a token among them, from the query, a form or JSON alike (https://docs.slack.dev/apis/web-api).
  refusedBodyParameters: ["token"],
  // At files.slack.com, which wants a token of Slack's: its SDKs upload with theirs, and its documentation says to download with it
  // (https://docs.slack.dev/reference/objects/file-object).
  removedLinks: ["upload_url", "url_private*", ...THUMBNAILS],
  limits: slackLimits,
  presets,
  refused,
  rules: rulesOf(METHODS),
};
