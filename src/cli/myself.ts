import type { Connection } from "./connection.ts";

/** The answer of `GET /people/me`, as far as it is shown. */
interface Myself {
  readonly person: { readonly id: string; readonly email: string; readonly name: string; readonly role: string };
  readonly session: { readonly expires_at: string };
}

/** The person who is signed in. */
export const readMyself = async (connection: Connection): Promise<Myself> =>
  connection.send<Myself>({ method: "GET", path: "/people/me", token: await connection.token() });
