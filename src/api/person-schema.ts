import * as z from "zod/mini";
import type { RequestContext } from "../http/request-context.ts";
import { publicOrigin } from "../access/session-cookie.ts";
import { clientName } from "../people/device-grant.ts";
import type { Link } from "../people/links.ts";
import {
  normalizeEmail,
  NOTICE_KINDS,
  PERSON_STATUSES,
  ROLES,
  type Login,
  type Notice,
  type Passkey,
  type Person,
  type PersonSession,
} from "../people/person.ts";
import { readableLine } from "../validation/readable-text.ts";
import { actorSchema } from "./agent-schema.ts";
import { toTimestamp } from "./timestamp.ts";
import { once } from "../validation/once.ts";

/** The address of a person, as it is stored. */
export const personEmail = once(() =>
  z
    .pipe(
      z.string().check(z.maxLength(255)),
      z.transform((text, { issues }) => {
        const email = normalizeEmail(text);
        if (email !== undefined && z.email().safeParse(email).success) return email;
        issues.push({ code: "custom", input: text, message: "must be an e-mail address in ASCII" });
        return z.NEVER;
      }),
    )
    .check(
      z.describe("Compared without regard to case. In ASCII only: two addresses that look alike would be two people."),
    ),
);

export const personName = once(() => readableLine(1, 100));
export const role = once(() => z.enum(ROLES));
export const status = once(() => z.enum(PERSON_STATUSES));

/** The Person object of the wire: exactly these keys. */
export const personSchema = once(() =>
  z.object({
    id: z.string(),
    email: z.string(),
    name: z.string(),
    role: role(),
    status: status(),
    created_at: z.iso.datetime(),
    last_signed_in_at: z.nullable(z.iso.datetime()),
  }),
);

export const toPersonResponse = (person: Person): z.input<ReturnType<typeof personSchema>> => ({
  id: person.id,
  email: person.email,
  name: person.name,
  role: person.role,
  status: person.status,
  created_at: toTimestamp(person.createdAt),
  last_signed_in_at: toTimestamp(person.lastSignedInAt),
});

export const linkSchema = once(() =>
  z.object({
    url: z
      .string()
      .check(z.describe("Signs the person in once, to enrol a passkey. Shown in this response and never again.")),
    expires_at: z.iso.datetime(),
  }),
);

/** The token is in the fragment, which a browser sends to nobody. */
export const toLinkResponse = (
  { token, expiresAt }: Link,
  { config, request }: Pick<RequestContext, "config" | "request">,
): z.input<ReturnType<typeof linkSchema>> => ({
  url: `${publicOrigin(config, request)}/sign-in#link=${token}`,
  expires_at: toTimestamp(expiresAt),
});

export const personSessionSchema = once(() =>
  z.object({
    id: z.string(),
    method: z.enum(["passkey", "oidc", "link"]),
    created_at: z.iso.datetime(),
    last_used_at: z.iso.datetime().check(z.describe("To within five minutes.")),
    expires_at: z.iso.datetime(),
    ip_address: z.string().check(z.describe("The address that signed in; empty if it is not known.")),
    user_agent: z.string().check(z.describe("What the browser called itself: it may say anything.")),
    client: z
      .nullable(z.string())
      .check(
        z.describe("The program that has the session, which the person has let in (RFC 8628); null for a browser."),
      ),
    current: z.boolean().check(z.describe("Whether it is the session of this request.")),
  }),
);

export const toPersonSessionResponse = (
  session: PersonSession,
  currentId: string,
): z.input<ReturnType<typeof personSessionSchema>> => ({
  id: session.id,
  method: session.method,
  created_at: toTimestamp(session.createdAt),
  last_used_at: toTimestamp(session.lastUsedAt),
  expires_at: toTimestamp(session.expiresAt),
  ip_address: session.ipAddress,
  user_agent: session.userAgent,
  client: session.clientId === null ? null : (clientName(session.clientId) ?? session.clientId),
  current: session.id === currentId,
});

export const passkeySchema = once(() =>
  z.object({
    id: z.string(),
    label: z.string(),
    created_at: z.iso.datetime(),
    decides_from: z.iso.datetime().check(z.describe("From when it may confirm an act.")),
    last_used_at: z.nullable(z.iso.datetime()),
  }),
);

export const toPasskeyResponse = (passkey: Passkey): z.input<ReturnType<typeof passkeySchema>> => ({
  id: passkey.id,
  label: passkey.label,
  created_at: toTimestamp(passkey.createdAt),
  decides_from: toTimestamp(passkey.decidesFrom),
  last_used_at: toTimestamp(passkey.lastUsedAt),
});

export const loginSchema = once(() =>
  z.object({
    id: z.string(),
    issuer: z.string(),
    label: z.nullable(z.string()).check(z.describe("What the provider called the person. It decides nothing.")),
    created_at: z.iso.datetime(),
    last_used_at: z.nullable(z.iso.datetime()),
  }),
);

export const toLoginResponse = (login: Login): z.input<ReturnType<typeof loginSchema>> => ({
  id: login.id,
  issuer: login.issuer,
  label: login.label,
  created_at: toTimestamp(login.createdAt),
  last_used_at: toTimestamp(login.lastUsedAt),
});

export const noticeSchema = once(() =>
  z.object({
    id: z.string(),
    at: z.iso.datetime(),
    kind: z.enum(NOTICE_KINDS),
    about: actorSchema(),
    by: actorSchema(),
  }),
);

export const toNoticeResponse = ({ id, at, kind, about, by }: Notice): z.input<ReturnType<typeof noticeSchema>> => ({
  id,
  at: toTimestamp(at),
  kind,
  about,
  by,
});
