import { useEffect } from "preact/hooks";
import { navigate } from "./router.ts";
import { Dialog } from "./ui.tsx";

const PLACES: Readonly<Record<string, readonly [string, string]>> = {
  h: ["/console", "Home"],
  a: ["/console/agents", "Agents"],
  v: ["/console/approvals", "Approvals"],
  t: ["/console/activity", "Activity"],
  w: ["/console/webhooks", "Webhooks"],
  s: ["/console/services", "Services"],
  p: ["/console/people", "People"],
};

/** After `g`, the next key has to come within this time, in milliseconds. */
const CHORD_MS = 1500;

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.isContentEditable || /^(?:INPUT|SELECT|TEXTAREA)$/.test(target.tagName));

/** Moves the focus between the rows of the list on the screen. */
function step(by: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLElement>("main tbody tr a.t, main .list a.t")];
  const at = rows.findIndex((row) => row === document.activeElement);
  const next = at === -1 ? (by === 1 ? 0 : rows.length - 1) : at + by;
  rows[Math.max(0, Math.min(next, rows.length - 1))]?.focus();
}

/** The keys of the console. None acts while somebody types, with a modifier, or behind a dialog. @param showAll shows them. */
export function useShortcuts(showAll: () => void): void {
  useEffect(() => {
    let goesUntil = 0;
    const onKey = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      if (document.querySelector("dialog[open]")) return;
      const { key } = event;
      if (Date.now() < goesUntil) {
        goesUntil = 0;
        const place = PLACES[key];
        if (place) {
          event.preventDefault();
          navigate(place[0]);
        }
        return;
      }
      if (key === "g") goesUntil = Date.now() + CHORD_MS;
      else if (key === "/") {
        const search = document.querySelector<HTMLInputElement>("main [data-search]");
        if (!search) return;
        event.preventDefault();
        search.focus();
      } else if (key === "j") step(1);
      else if (key === "k") step(-1);
      else if (key === "?") showAll();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

/** All keys. */
export const Shortcuts = ({ close }: { close: () => void }) => (
  <Dialog title="Keys" close={close}>
    <dl class="facts">
      {[
        ["/", "Search"],
        ["j k", "Next and former row"],
        ["Enter", "Open"],
        ["Esc", "Close"],
        ...Object.entries(PLACES).map(([key, [, name]]) => [`g ${key}`, name]),
        ["?", "These keys"],
      ].map(([keys, what]) => (
        <div>
          <dt>
            <kbd>{keys}</kbd>
          </dt>
          <dd>{what}</dd>
        </div>
      ))}
    </dl>
  </Dialog>
);
