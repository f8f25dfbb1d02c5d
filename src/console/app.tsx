import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useEvery } from "./load.ts";
import { useShortcuts, Shortcuts } from "./shortcuts.tsx";
import { change, isOnline, outdated } from "./request.ts";
import { path, takeReturn } from "./router.ts";
import { decided, me, ROLE_NAMES, seesAll, setTheme, theme, toast, waiting, isAdmin, type Theme } from "./state.ts";
import { Button, Choice, Empty, PageHead } from "./ui.tsx";
import { Quoted } from "./ui.tsx";
import { readWaiting } from "./agents.ts";
import { AgentList } from "./screens/agent-list.tsx";
import { PeopleList, PersonScreen } from "./screens/people.tsx";
import { ServiceList, ServiceScreen } from "./screens/services.tsx";
import { Settings } from "./screens/settings.tsx";
import { RegisterAgent } from "./screens/register-agent.tsx";
import { Deliveries, WebhookList, WebhookScreen } from "./screens/webhooks.tsx";
import { AgentScreen } from "./screens/agent.tsx";
import { Activity } from "./screens/activity.tsx";
import { Approvals } from "./screens/approvals.tsx";
import { Home } from "./screens/home.tsx";

const Logo = () => (
  <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" aria-hidden="true">
    <path d="M12 2 4 5v6c0 5 3.4 9.3 8 11 4.6-1.7 8-6 8-11V5z" />
    <path d="M9 12h6m-2-2 2 2-2 2" />
  </svg>
);

/** Every screen: its pattern, and its name in the title of the page. The first that matches is shown. */
const SCREENS = [
  { match: /^\/console$/, title: "Home", show: () => <Home /> },
  { match: /^\/console\/agents\/new$/, title: "Register an agent", show: () => <RegisterAgent /> },
  { match: /^\/console\/agents\/([^/]+)$/, title: "Agent", show: (id: string) => <AgentScreen key={id} id={id} /> },
  { match: /^\/console\/agents$/, title: "Agents", show: () => <AgentList /> },
  {
    match: /^\/console\/activity(?:\/([^/]+))?$/,
    title: "Activity",
    show: (id: string) => <Activity {...(id && { id })} />,
  },
  {
    match: /^\/console\/webhooks\/([^/]+)$/,
    title: "Webhook",
    show: (id: string) => <WebhookScreen key={id} id={id} />,
  },
  { match: /^\/console\/webhooks$/, title: "Webhooks", show: () => <WebhookList /> },
  { match: /^\/console\/deliveries$/, title: "Deliveries", show: () => <Deliveries /> },
  {
    match: /^\/console\/services\/([^/]+)$/,
    title: "Service",
    show: (name: string) => <ServiceScreen key={name} name={name} />,
  },
  { match: /^\/console\/services$/, title: "Services", show: () => <ServiceList /> },
  { match: /^\/console\/people\/([^/]+)$/, title: "Person", show: (id: string) => <PersonScreen key={id} id={id} /> },
  { match: /^\/console\/settings$/, title: "Settings", show: () => <Settings /> },
  { match: /^\/console\/people$/, title: "People", show: () => <PeopleList /> },
  { match: /^\/console\/approvals$/, title: "Approvals", show: () => <Approvals /> },
] as const;

function Screen() {
  for (const { match, show } of SCREENS) {
    const found = match.exec(path.value);
    if (found) return show(decode(found[1] ?? ""));
  }
  return (
    <>
      <PageHead title="There is no such page" sub={<Quoted text={path.value} most={200} />} />
      <Empty title="The address may be mistyped, or from another version.">
        <a href="/console">Go to the first page</a>
      </Empty>
    </>
  );
}

/** A part of a path as text. What cannot be decoded is no id of anything. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const titleOf = (): string => SCREENS.find(({ match }) => match.test(path.value))?.title ?? "No such page";

interface Place {
  readonly href: string;
  readonly name: string;
  readonly count?: number | undefined;
}

const placesOf = (): readonly Place[] => [
  { href: "/console", name: "Home" },
  { href: "/console/agents", name: "Agents" },
  ...(isAdmin.value ? [{ href: "/console/approvals", name: "Approvals", count: waiting.value }] : []),
  { href: "/console/activity", name: "Activity" },
  ...(seesAll.value
    ? [
        { href: "/console/webhooks", name: "Webhooks" },
        { href: "/console/services", name: "Services" },
        { href: "/console/people", name: "People" },
        { href: "/console/settings", name: "Settings" },
      ]
    : []),
];

function Navigation({ isOpen, close }: { isOpen: boolean; close: () => void }) {
  const person = me.value!;
  return (
    <nav class={isOpen ? "side open" : "side"} id="menu" aria-label="Main">
      <a class="brand" href="/console">
        <Logo />
        AgentAuth
      </a>
      <div class="places">
        {placesOf().map(({ href, name, count }) => {
          const isHere = href === "/console" ? path.value === href : path.value.startsWith(href);
          return (
            <a href={href} aria-current={isHere ? "page" : undefined} onClick={close}>
              {name}
              {count ? (
                <span class="count">
                  {count > 99 ? "99+" : count}
                  <span class="visually-hidden"> waiting</span>
                </span>
              ) : null}
            </a>
          );
        })}
      </div>
      <div class="who">
        <b>
          <Quoted text={person.email} />
        </b>
        {ROLE_NAMES[person.role]}
        <div class="row">
          <a href="/account">Account</a>
          <Choice
            label="Colours"
            value={theme.value}
            options={[
              { value: "device", label: "As the device" },
              { value: "light", label: "Light" },
              { value: "dark", label: "Dark" },
            ]}
            choose={(next) => setTheme(next as Theme)}
          />
          <Button
            small
            onClick={() => {
              void change("POST", "/sign-out").finally(() => location.assign("/sign-in"));
            }}
          >
            Sign out
          </Button>
        </div>
      </div>
    </nav>
  );
}

function ToastLine() {
  const shown = toast.value;
  const [failed, setFailed] = useState("");
  useEffect(() => setFailed(""), [shown]);
  return (
    <div class="toast" role="status">
      {shown && (
        <>
          <span>
            <Quoted text={failed || shown.text} most={200} />
          </span>
          {shown.undo && !failed && (
            <Button
              small
              onClick={() => {
                void shown.undo!()
                  .then(() => (toast.value = undefined))
                  .catch((error: Error) => setFailed(`It could not be undone: ${error.message}`));
              }}
            >
              Undo
            </Button>
          )}
        </>
      )}
    </div>
  );
}

/** Why nothing was changed, if the screen was outdated when the person changed something. */
function Outdated() {
  const error = outdated.value;
  return (
    <div role="alert">
      {error && (
        <div class="fault">
          <p>
            <Quoted text={error.message} most={400} /> What you see below is how it is now.
          </p>
          <div class="row">
            <Button small onClick={() => (outdated.value = undefined)}>
              Understood
            </Button>
          </div>
        </div>
      )}
    </div>
  );
}

/** When what had the focus is taken away, as a button is whose work is done, the title of the screen gets it: the next key begins there. */
function useKeptFocus(): void {
  useEffect(() => {
    let last: EventTarget | null = null;
    const remember = ({ target }: FocusEvent): void => {
      last = target;
    };
    const observer = new MutationObserver(() => {
      if (!(last instanceof Element) || last.isConnected || document.activeElement !== document.body) return;
      // A screen that is read anew has no title for a moment: the next change looks again.
      document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true });
    });
    document.addEventListener("focusin", remember);
    observer.observe(document.body, { childList: true, subtree: true });
    return () => {
      document.removeEventListener("focusin", remember);
      observer.disconnect();
    };
  }, []);
}

/** The frame around every screen. */
export function App() {
  const [isOpen, setOpen] = useState(false);
  const [showsKeys, setShowsKeys] = useState(false);
  const main = useRef<HTMLElement>(null);
  const isFirst = useRef(true);
  useShortcuts(() => setShowsKeys(true));
  useKeptFocus();

  const count = () => {
    if (isAdmin.value)
      void readWaiting()
        .then(({ total }) => (waiting.value = total))
        .catch(() => undefined);
  };
  useEffect(count, [decided.value]);
  useEvery(60_000, count);

  // Who has come to another screen hears its title, and begins to read there.
  useLayoutEffect(() => {
    document.title = `${titleOf()} · AgentAuth`;
    setOpen(false);
    outdated.value = undefined;
    if (isFirst.current) isFirst.current = false;
    else if (!takeReturn()) {
      scrollTo(0, 0);
      main.current?.querySelector<HTMLElement>("h1")?.focus({ preventScroll: true });
    }
  }, [path.value]);

  return (
    <>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        Skip to the page
      </a>
      <div class="app">
        <header class="bar">
          <a class="brand" href="/console">
            <Logo />
            AgentAuth
          </a>
          <Button small aria-expanded={isOpen} aria-controls="menu" onClick={() => setOpen(!isOpen)}>
            Menu
          </Button>
        </header>
        <Navigation isOpen={isOpen} close={() => setOpen(false)} />
        <div>
          {!isOnline.value && (
            <div class="banner" role="status">
              AgentAuth cannot be reached. What you see is what was last read.
            </div>
          )}
          <main id="main" tabIndex={-1} ref={main}>
            <Outdated />
            <Screen />
          </main>
        </div>
      </div>
      <ToastLine />
      {showsKeys && <Shortcuts close={() => setShowsKeys(false)} />}
    </>
  );
}
