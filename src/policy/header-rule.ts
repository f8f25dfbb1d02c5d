/** What happens to a request header of one name. */
export interface HeaderRule {
  /** The values that are forwarded. None if left out. */
  readonly passes?: RegExp;
  /**
   * What happens to every other value, and to a header that `Connection` names:
   *
   * - `ignore`: it is dropped. For what HTTP libraries, browsers and proxies add by themselves.
   * - `drop`: it is dropped, and the response names it in `X-AgentAuth-Dropped`.
   * - `refuse_write`: the same for a read. A write is refused, because without the header it would do something else.
   * - `refuse`: the request is refused.
   */
  readonly otherwise: "ignore" | "drop" | "refuse_write" | "refuse";
  /** Why a request is refused, as the end of a sentence about the header: "it acts on another account". */
  readonly because?: string;
}

/** Rules by name in lower case; `sforce-*` is every name that begins so and has no rule of its own. */
export type HeaderRules = Readonly<Record<string, HeaderRule>>;

/** Every value passes. */
export const ANY = /^/;
