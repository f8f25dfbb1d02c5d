/** The package of the runtime's binary exports its path. It has no types. */
declare module "workerd" {
  const workerd: { readonly default: string };
  export default workerd;
}
