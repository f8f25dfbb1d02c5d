/** When the public keys of a deployment are fetched. Stands apart so that the verifier's declarations do not need those of jose. */
export interface KeySetOptions {
  /** Seconds after which the keys are fetched again. The default is 600. */
  readonly cacheMaxAge?: number | undefined;
  /** At least this many seconds pass between two fetches for a key that is not in the set. The default is 30. */
  readonly cooldown?: number | undefined;
}
