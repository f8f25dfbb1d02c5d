import { computed, signal } from "@preact/signals";

/** Where the page is: its path and its query, as the address bar says them. */
const here = signal(location.pathname + location.search);

/** The path of the screen. */
export const path = computed(() => here.value.split("?")[0]!.replace(/\/+$/, "") || "/console");

/** The filters of the screen, which stand in the address. */
export const query = computed(() => new URLSearchParams(here.value.split("?")[1] ?? ""));

/** Whether the last step was back or forward: the page is then where it was, also its focus. */
let isReturning = false;

addEventListener("popstate", () => {
  isReturning = true;
  here.value = location.pathname + location.search;
});

/** Whether the step that has just been made was back or forward. Asked once. */
export function takeReturn(): boolean {
  const was = isReturning;
  isReturning = false;
  return was;
}

/** Goes to another screen. @param replaces whether the present one is left out of the history. */
export function navigate(url: string, replaces = false): void {
  if (url === location.pathname + location.search) return;
  history[replaces ? "replaceState" : "pushState"](null, "", url);
  here.value = url;
}

/** Sets filters in the address, and leaves out those that are empty. The history gets no step of each letter. */
export function setQuery(changes: Readonly<Record<string, string | undefined>>): void {
  const next = new URLSearchParams(query.value);
  for (const [name, value] of Object.entries(changes)) {
    if (value) next.set(name, value);
    else next.delete(name);
  }
  const text = next.toString();
  navigate(location.pathname + (text && `?${text}`), true);
}

/** Links of the console are followed in the page. Modified clicks, other targets and downloads are the browser's. */
addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (!link || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || link.target || link.hasAttribute("download"))
    return;
  if (link.origin !== location.origin || !/^\/console(?:\/|$)/.test(link.pathname) || link.hash) return;
  event.preventDefault();
  navigate(link.pathname + link.search);
});
