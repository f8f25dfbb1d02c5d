/**
 * The services that an operator adds to a deployment, for `Permission` to know them. Declare yours once in your own code:
 *
 * ```ts
 * declare module "agentauth" {
 *   interface Services {
 *     orders: { orders: "read" | "write"; refunds: "read" };
 *   }
 * }
 * ```
 *
 * Now `"orders:refunds:read"`, `"orders:orders:*"` and `"orders:*:*"` are permissions, and `"orders:refund:read"` is a type
 * error.
 */
// oxlint-disable-next-line typescript/no-empty-object-type -- it is there to be declared further
export interface Services {}
