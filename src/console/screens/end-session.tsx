import type { ComponentChildren } from "preact";
import { change, segment } from "../request.ts";
import { Destroy } from "../ui.tsx";

/** The dialog that ends one session, which is known by the address that it was opened from. */
export const EndSession = ({
  session: { id, ip_address: address },
  path,
  children,
  ended,
  close,
}: {
  session: { readonly id: string; readonly ip_address: string | null };
  /** Where the sessions are in the API. */
  path: string;
  children: ComponentChildren;
  ended: () => void;
  close: () => void;
}) => (
  <Destroy
    title="End this session"
    name={address || id.slice(-6)}
    what={address ? "address of the session" : "last characters of the session’s id"}
    label="End it"
    close={close}
    work={async () => {
      await change("DELETE", `${path}/${segment(id)}`);
      ended();
    }}
  >
    {children}
  </Destroy>
);
