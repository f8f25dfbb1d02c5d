/** A key of `SECRET_PEPPER`: it keys the hashes of API keys and of refresh tokens. */
export interface Pepper {
  /** Stored beside each hash, so that the key can be found again. */
  readonly id: string;
  readonly secret: string;
}

/** The keys of `SECRET_PEPPER`. The first derives what is new, all of them verify. */
export type Peppers = readonly [Pepper, ...Pepper[]];

/** The id of a `SECRET_PEPPER` that is one string. */
export const ONLY_PEPPER_ID = "1";

/** The key with this id, or undefined if it is not, or no longer, part of the set. */
export const findPepper = (peppers: Peppers, id: string | null): Pepper | undefined =>
  peppers.find((pepper) => pepper.id === id);
