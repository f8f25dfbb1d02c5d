import * as z from "zod/mini";
import { changeOf, originOf } from "../access/origin.ts";
import { route } from "../access/route.ts";
import { badRequest, conflict, notFound } from "../http/errors.ts";
import { makeLink } from "../people/links.ts";
import {
  bootstrapFirstPerson,
  changePerson,
  findPerson,
  invitePerson,
  listNotices,
  listPeople,
  removePerson,
} from "../people/people.ts";
import { endPersonSession, listPersonSessions } from "../people/sessions.ts";
import { cursorOf, cursorPaging, nextCursor, page } from "./pagination.ts";
import {
  linkSchema,
  noticeSchema,
  personEmail,
  personName,
  personSchema,
  personSessionSchema,
  role,
  status,
  toLinkResponse,
  toNoticeResponse,
  toPersonResponse,
  toPersonSessionResponse,
} from "./person-schema.ts";
import { once } from "../validation/once.ts";

const success = once(() => z.literal(true));
const message = once(() => z.string());
const onePerson = () => z.object({ success: success(), message: message(), person: personSchema() });
const invitedPerson = () =>
  z.object({ success: success(), message: message(), person: personSchema(), link: linkSchema() });

const personQuery = { ...cursorPaging(), cursor: cursorOf((text) => /^per_[0-9a-f]{32}$/.test(text)) };
const sessionQuery = { ...cursorPaging(), cursor: cursorOf((text) => /^pse_[0-9a-f]{32}$/.test(text)) };

const lastAdministrator = () =>
  conflict(
    "last_administrator",
    "Nobody would be left who administers the deployment: another administrator has to enrol a passkey first.",
  );
const emailTaken = () => conflict("email_taken", "Another person has this address.");

/** People, their roles, their links and their sessions. No agent's token is accepted here, whatever the agent may do. */
export const peopleRoutes = [
  route({
    method: "POST",
    path: "/people/bootstrap",
    auth: "bootstrap",
    summary: "Make the first person, who administers the deployment, by the bootstrap token; once",
    limited: "address",
    body: () => z.object({ email: personEmail(), name: z.optional(personName()) }),
    response: invitedPerson,
    status: 201,
    async handle(call) {
      const { email, name } = call.body;
      const first = await bootstrapFirstPerson(
        call.env.DB,
        { email, name: name ?? nameOf(email) },
        { now: call.now, origin: { ...originOf(call), actor: { type: "bootstrap", id: null, name: null } } },
      );
      if (!first) {
        throw conflict("people_exist", "There is a person already. An administrator invites others with POST /people.");
      }
      return {
        success: true,
        message: "The first administrator is made. Open the link within 15 minutes, and enrol a passkey.",
        person: toPersonResponse(first.person),
        link: toLinkResponse(first.link, call),
      };
    },
  }),

  route({
    method: "GET",
    path: "/people/me",
    auth: "person",
    fromCommand: true,
    summary: "Who is signed in, in which session, and what they were told lately",
    response: () =>
      z.object({
        success: success(),
        person: personSchema(),
        session: personSessionSchema(),
        notices: z.array(noticeSchema()).check(z.describe("The last 50, the newest first.")),
      }),
    async handle({ env, caller }) {
      const { person, session } = caller;
      return {
        success: true,
        person: toPersonResponse(person),
        session: toPersonSessionResponse(session, session.id),
        notices: (await listNotices(env.DB, person.id)).map(toNoticeResponse),
      };
    },
  }),

  route({
    method: "GET",
    path: "/people",
    auth: "administrator",
    summary: "List people, in the order in which they were made",
    query: () => z.object(personQuery),
    response: () => z.object({ success: success(), people: z.array(personSchema()), next_cursor: nextCursor() }),
    async handle({ env, query }) {
      const { rows, hasMore } = page(await listPeople(env.DB, query.cursor ?? "", query.limit + 1), query);
      return {
        success: true,
        people: rows.map(toPersonResponse),
        next_cursor: hasMore ? rows.at(-1)!.id : null,
      };
    },
  }),

  route({
    method: "POST",
    path: "/people",
    auth: "administrator",
    summary: "Invite a person; the link signs them in once, to enrol a passkey",
    confirmed: true,
    idempotent: { secrets: ["link.url"] },
    body: () => z.object({ email: personEmail(), name: z.optional(personName()), role: role() }),
    response: invitedPerson,
    status: 201,
    async handle(call) {
      const { email, name, role: given } = call.body;
      const newPerson = { email, name: name ?? nameOf(email), role: given };
      const invited = await invitePerson(call.env.DB, newPerson, changeOf(call));
      if (!invited) throw emailTaken();
      return {
        success: true,
        message: "The person is invited. Give them the link: it is not shown again, and is good for 15 minutes.",
        person: toPersonResponse(invited.person),
        link: toLinkResponse(invited.link, call),
      };
    },
  }),

  route({
    method: "GET",
    path: "/people/{id}",
    auth: "oneself",
    summary: "Read a person",
    response: () => z.object({ success: success(), person: personSchema() }),
    async handle({ env, params }) {
      const person = await findPerson(env.DB, params.id);
      if (!person) throw notFound("The person");
      return { success: true, person: toPersonResponse(person) };
    },
  }),

  route({
    method: "PATCH",
    path: "/people/{id}",
    auth: "administrator",
    summary: "Change a person's name, address, role or status; suspended, they are signed out",
    confirmed: true,
    body: () =>
      z.object({
        name: z.optional(personName()),
        email: z.optional(personEmail()),
        role: z.optional(role()),
        status: z.optional(status()),
      }),
    response: onePerson,
    async handle(call) {
      if (Object.values(call.body).every((value) => value === undefined)) {
        throw badRequest("Name what to change: name, email, role or status.");
      }
      const changed = await changePerson(call.env.DB, call.params.id, call.body, changeOf(call));
      switch (changed.result) {
        case "unknown":
          throw notFound("The person");
        case "email_taken":
          throw emailTaken();
        case "last_administrator":
          throw lastAdministrator();
        case "changed":
        case "unchanged":
          return {
            success: true,
            message: changed.result === "changed" ? "The person is changed." : "Nothing to change.",
            person: toPersonResponse(changed.person),
          };
      }
    },
  }),

  route({
    method: "DELETE",
    path: "/people/{id}",
    auth: "administrator",
    summary: "Delete a person with their sessions and passkeys; their agents belong to nobody then",
    confirmed: true,
    response: () => z.object({ success: success(), message: message() }),
    async handle(call) {
      const result = await removePerson(call.env.DB, call.params.id, changeOf(call));
      if (result === "unknown") throw notFound("The person");
      if (result === "last_administrator") throw lastAdministrator();
      return { success: true, message: "The person is deleted." };
    },
  }),

  route({
    method: "POST",
    path: "/people/{id}/sign-in-links",
    auth: "administrator",
    summary: "Make a link that signs a person in once, to enrol a passkey; they and the administrators are told",
    confirmed: true,
    idempotent: { secrets: ["link.url"] },
    response: () => z.object({ success: success(), message: message(), link: linkSchema() }),
    status: 201,
    async handle(call) {
      const link = await makeLink(call.env.DB, call.params.id, changeOf(call));
      if (!link) throw notFound("An active person with this id");
      return {
        success: true,
        message:
          "Give the person the link: it is not shown again, and is good for 15 minutes. Links before it have ended.",
        link: toLinkResponse(link, call),
      };
    },
  }),

  route({
    method: "GET",
    path: "/people/{id}/sessions",
    auth: "oneself",
    summary: "List the sessions of a person, newest first",
    query: () => z.object(sessionQuery),
    response: () =>
      z.object({ success: success(), sessions: z.array(personSessionSchema()), next_cursor: nextCursor() }),
    async handle({ env, params, query, caller }) {
      const { limit, cursor: before } = query;
      const sessions = await listPersonSessions(env.DB, params.id, { limit: limit + 1, before });
      if (!sessions) throw notFound("The person");
      const { rows, hasMore } = page(sessions, query);
      return {
        success: true,
        sessions: rows.map((session) => toPersonSessionResponse(session, caller.session.id)),
        next_cursor: hasMore ? rows.at(-1)!.id : null,
      };
    },
  }),

  route({
    method: "DELETE",
    path: "/people/{id}/sessions/{session_id}",
    auth: "oneself",
    summary: "Sign a person out of a session, at once",
    response: () => z.object({ success: success(), message: message() }),
    async handle(call) {
      const { env, params } = call;
      const isEnded = await endPersonSession(env.DB, params.id, params.session_id, changeOf(call));
      if (!isEnded) throw notFound("The session");
      return { success: true, message: "The session has ended." };
    },
  }),
];

/** What a person is called until somebody says it: the part before the @. */
const nameOf = (email: string): string => email.slice(0, email.lastIndexOf("@"));
