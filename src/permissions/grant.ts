/** What a condition compares a value with. */
export type Scalar = string | number | boolean;

/** The conditions on one field, all of which must hold. */
export interface Conditions {
  readonly eq?: Scalar;
  readonly in?: readonly Scalar[];
  /** Numbers only, inclusive. */
  readonly min?: number;
  readonly max?: number;
  /** `*` matches any text within one segment. Only for the names of files and branches. */
  readonly glob?: string;
  /** Only for fields whose values are a closed list. */
  readonly not_in?: readonly Scalar[];
}

/** The limits of a grant: field (`path.owner`, `query.state`, `body.amount`) → conditions, all of which must hold. */
export type Where = Readonly<Record<string, Conditions>>;

/** A permission, how far it reaches, and until when. Several of one permission are alternatives: one of them has to allow a request. */
export interface GrantLimits {
  readonly permission: string;
  /** Null: no limit. */
  readonly where: Where | null;
  /** When it ends, in milliseconds since the epoch: at that time it gives nothing any more. Null: it has no end. */
  readonly expiresAt: number | null;
}

/** Whether a grant gives its permission without a limit and without an end. */
export const isUnlimited = ({ where, expiresAt }: GrantLimits): boolean => where === null && expiresAt === null;

/** Whether a grant has ended. @param now milliseconds. */
export const hasEnded = ({ expiresAt }: GrantLimits, now: number): boolean => expiresAt !== null && expiresAt <= now;

/** A text that two grants have in common if they give the same. */
export const grantText = ({ permission, where, expiresAt }: GrantLimits): string =>
  JSON.stringify([permission, where, expiresAt]);

/** A permission without a limit and without an end. */
export const unlimited = (permission: string): GrantLimits => ({ permission, where: null, expiresAt: null });
