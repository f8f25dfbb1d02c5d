/** The package that holds the runtime's binary says where it is; it has no types. */
declare module "workerd" {
  const workerd: { readonly default: string };
  export default workerd;
}
