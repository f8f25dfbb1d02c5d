import type { LimitDefinition } from "../../limits.ts";

const TICKET = "/api/v2/tickets/{id:int}";
const USER = "/api/v2/users/{id:int}";

/** Lines that read or write one ticket, at which nothing else says which. Merging and the lines for many name others: not here. */
const ONE_TICKET = [
  `GET,PUT,DELETE ${TICKET} tickets`,
  `GET ${TICKET}/{part:audits|comments|incidents|metrics|related} tickets`,
  `GET ${TICKET}/{part:audits|comments}/count tickets`,
  `GET ${TICKET}/audits/{audit_id:int} tickets`,
  `PUT ${TICKET}/audits/{audit_id:int}/make_private tickets`,
  `PUT ${TICKET}/comments/{comment_id:int}/{change:make_private|redact} tickets`,
  `PUT ${TICKET}/comments/{comment_id:int}/attachments/{attachment_id:int}/redact tickets`,
  `GET,POST,PUT,DELETE ${TICKET}/tags tickets`,
];

const ONE_USER = [
  `GET,PUT,DELETE ${USER} users`,
  `GET ${USER}/{part:identities|related} users`,
  `GET ${USER}/identities/{identity_id:int} users`,
  `GET,POST,PUT,DELETE ${USER}/tags users`,
];

/** Lines whose body is `{"ticket": {…}}`. */
const TICKET_BODIES = ["GET,POST /api/v2/tickets tickets", `GET,PUT,DELETE ${TICKET} tickets`];

/**
 * What grants may limit at Zendesk (https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/). A ticket and a user are both
 * `id` in their paths, so a limit on it belongs to a grant of one resource.
 */
export const zendeskLimits: Readonly<Record<string, LimitDefinition>> = {
  "path.id": { alone: [...ONE_TICKET, ...ONE_USER], without: ["query.ids", "query.external_ids"] },
  "body.ticket.status": {
    alone: TICKET_BODIES,
    closedList: ["new", "open", "pending", "hold", "solved", "closed"],
    // A custom status sets the status that its category has.
    without: ["body.ticket.custom_status_id"],
  },
  "body.ticket.priority": { alone: TICKET_BODIES, closedList: ["urgent", "high", "normal", "low"] },
  "body.ticket.type": { alone: TICKET_BODIES, closedList: ["problem", "incident", "question", "task"] },
  "body.ticket.group_id": { alone: TICKET_BODIES },
  "body.ticket.brand_id": { alone: TICKET_BODIES },
  "body.ticket.comment.public": { alone: TICKET_BODIES },
};
