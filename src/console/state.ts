import { computed, signal } from "@preact/signals";

/** A person of the API. */
export interface Person {
  readonly id: string;
  readonly email: string;
  readonly name: string;
  readonly role: "admin" | "owner" | "auditor";
  readonly status: "active" | "suspended";
  readonly created_at: string;
  readonly last_signed_in_at: string | null;
}

export const ROLE_NAMES = { admin: "Administrator", owner: "Owner", auditor: "Auditor" } as const;

/** Who is signed in. Set before the first screen is drawn. */
export const me = signal<Person | undefined>(undefined);
export const isAdmin = computed(() => me.value?.role === "admin");
/** Whether they see what is everybody's: administrators and auditors. */
export const seesAll = computed(() => me.value?.role === "admin" || me.value?.role === "auditor");

/** How many registrations wait for a decision; undefined as long as that is not known. */
export const waiting = signal<number | undefined>(undefined);
/** Counts the changes after which `waiting` has to be read again. */
export const decided = signal(0);

/** The clock of the screen, in milliseconds: what says "4 min ago" follows it. */
export const clock = signal(Date.now());
setInterval(() => (clock.value = Date.now()), 15_000);

/** What was done, and how it is undone within ten seconds. */
export interface Toast {
  readonly text: string;
  readonly undo?: (() => Promise<unknown>) | undefined;
}

export const toast = signal<Toast | undefined>(undefined);
const TOAST_MS = 10_000;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Says what was done. @param undo takes it back. Never for a secret. */
export function notify(text: string, undo?: () => Promise<unknown>): void {
  clearTimeout(timer);
  toast.value = { text, undo };
  timer = setTimeout(() => (toast.value = undefined), TOAST_MS);
}

/** Dark, light, or as the device says. */
export type Theme = "dark" | "light" | "device";
const THEME = "agentauth-theme";
const readTheme = (): Theme => {
  const kept = localStorage.getItem(THEME);
  return kept === "dark" || kept === "light" ? kept : "device";
};
export const theme = signal<Theme>(readTheme());

/** Sets the colours of the page, and keeps them for this browser. */
export function setTheme(next: Theme): void {
  theme.value = next;
  if (next === "device") localStorage.removeItem(THEME);
  else localStorage.setItem(THEME, next);
  showTheme();
}

export function showTheme(): void {
  if (theme.value === "device") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
}
