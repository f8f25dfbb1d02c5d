import { toActor, type Actor } from "../authority/actor-row.ts";
import type { Role } from "../authority/authority.ts";
import { sql, type Sql } from "../database/sql.ts";
import type {
  Login,
  Notice,
  NoticeKind,
  Passkey,
  Person,
  PersonSession,
  PersonStatus,
  SignInMethod,
} from "./person.ts";

/** A row of `people` with the {@link PERSON_COLUMNS}. */
export interface PersonRow {
  id: string;
  email: string;
  name: string;
  role: Role;
  status: PersonStatus;
  created_at: number;
  joined_at: number | null;
  last_signed_in_at: number | null;
}

/** The columns of {@link PersonRow}, for statements that read `people p`. */
export const PERSON_COLUMNS = sql`p.id, p.email, p.name, p.role, p.status, p.created_at, p.joined_at, p.last_signed_in_at`;

export const toPerson = (row: PersonRow): Person => ({
  id: row.id,
  email: row.email,
  name: row.name,
  role: row.role,
  status: row.status,
  createdAt: row.created_at,
  joinedAt: row.joined_at,
  lastSignedInAt: row.last_signed_in_at,
});

/** JSON of what a record says of a person. @param row the name of their row in the statement. */
export const jsonOfPerson = (row: Sql): Sql =>
  sql`json_object('id', ${row}.id, 'email', ${row}.email, 'name', ${row}.name, 'role', ${row}.role, 'status', ${row}.status)`;

export interface SessionRow {
  session_id: string;
  method: SignInMethod;
  auth_time: number;
  enrol_until: number | null;
  session_created_at: number;
  last_used_at: number;
  expires_at: number;
  ip_address: string;
  user_agent: string;
  client_id: string | null;
}

/** The columns of {@link SessionRow}, for statements that read `person_sessions s`. */
export const SESSION_COLUMNS = sql`s.id AS session_id, s.method, s.auth_time, s.enrol_until, s.created_at AS session_created_at, s.last_used_at,
  s.expires_at, s.ip_address, s.user_agent, s.client_id`;

/** JSON of what a record says of somebody who has just signed in by session `s`. */
export const SIGNED_IN_JSON = sql`json_object('method', s.method, 'user_agent', s.user_agent)`;

export const toPersonSession = (row: SessionRow): PersonSession => ({
  id: row.session_id,
  method: row.method,
  authTime: row.auth_time,
  enrolUntil: row.enrol_until,
  createdAt: row.session_created_at,
  lastUsedAt: row.last_used_at,
  expiresAt: row.expires_at,
  ipAddress: row.ip_address,
  userAgent: row.user_agent,
  clientId: row.client_id,
});

export interface PasskeyRow {
  id: string;
  label: string;
  created_at: number;
  decides_from: number;
  last_used_at: number | null;
}

export const PASSKEY_COLUMNS = sql`k.id, k.label, k.created_at, k.decides_from, k.last_used_at`;

export const toPasskey = (row: PasskeyRow): Passkey => ({
  id: row.id,
  label: row.label,
  createdAt: row.created_at,
  decidesFrom: row.decides_from,
  lastUsedAt: row.last_used_at,
});

export interface LoginRow {
  id: string;
  issuer: string;
  label: string | null;
  created_at: number;
  last_used_at: number | null;
}

export const toLogin = (row: LoginRow): Login => ({
  id: row.id,
  issuer: row.issuer,
  label: row.label,
  createdAt: row.created_at,
  lastUsedAt: row.last_used_at,
});

export interface NoticeRow {
  id: string;
  at: number;
  kind: NoticeKind;
  about: string;
  actor: string;
}

export const toNotice = ({ id, at, kind, about, actor }: NoticeRow): Notice => ({
  id,
  at,
  kind,
  about: toActor(about) as Actor,
  by: toActor(actor) as Actor,
});
