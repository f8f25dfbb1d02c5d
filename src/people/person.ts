import type { Role } from "../authority/authority.ts";
import type { Actor } from "../authority/actor-row.ts";

export { ROLES, type Role } from "../authority/authority.ts";
export const PERSON_STATUSES = ["active", "suspended"] as const;
export type PersonStatus = (typeof PERSON_STATUSES)[number];

/** A person. Times are milliseconds. */
export interface Person {
  readonly id: string;
  /** As {@link normalizeEmail} spells it. */
  readonly email: string;
  readonly name: string;
  readonly role: Role;
  readonly status: PersonStatus;
  readonly createdAt: number;
  /** When the person first had a way to sign in beside a link. Null: only a link signs them in. */
  readonly joinedAt: number | null;
  readonly lastSignedInAt: number | null;
}

/** How a person signed in. A link opens a session that may do nothing but enrol a passkey or bind a login. */
export type SignInMethod = "passkey" | "oidc" | "link";

/** A session of a person, without its token. Times are milliseconds. */
export interface PersonSession {
  readonly id: string;
  readonly method: SignInMethod;
  /** The last proof of who the person is. */
  readonly authTime: number;
  /** Until when it may enrol a passkey without an existing one. Null: never. */
  readonly enrolUntil: number | null;
  readonly createdAt: number;
  readonly lastUsedAt: number;
  readonly expiresAt: number;
  /** Empty if it is not known. */
  readonly ipAddress: string;
  readonly userAgent: string;
  /** The command that has it, which a person has let in (RFC 8628). Null: a browser. */
  readonly clientId: string | null;
}

/** A passkey of a person. Times are milliseconds. */
export interface Passkey {
  readonly id: string;
  readonly label: string;
  readonly createdAt: number;
  /** From when it may confirm an act: see `PASSKEY_WAIT_MS`. */
  readonly decidesFrom: number;
  readonly lastUsedAt: number | null;
}

/** A login at the OpenID provider that is bound to a person. Times are milliseconds. */
export interface Login {
  readonly id: string;
  readonly issuer: string;
  /** What the provider called the person when it was bound. Null: it did not say. */
  readonly label: string | null;
  readonly createdAt: number;
  readonly lastUsedAt: number | null;
}

/** What a person was told. */
export interface Notice {
  readonly id: string;
  readonly at: number;
  readonly kind: NoticeKind;
  readonly about: Actor;
  readonly by: Actor;
}

export const NOTICE_KINDS = [
  "person.created",
  "person.updated",
  "person.deleted",
  "link.created",
  "link.used",
  "passkey.enrolled",
  "passkey.deleted",
  "login.bound",
  "login.deleted",
  "command.approved",
] as const;
export type NoticeKind = (typeof NOTICE_KINDS)[number];

/**
 * An address as it is stored and compared: trimmed and in lower case. Undefined for one with characters beyond ASCII: two that look
 * alike would be two people.
 */
export function normalizeEmail(text: string): string | undefined {
  const trimmed = text.trim();
  return /^[\x21-\x7e]+$/.test(trimmed) ? trimmed.toLowerCase() : undefined;
}
