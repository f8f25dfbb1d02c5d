import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { Line } from "./draft-grants.ts";
import type { Loaded, LoadedList } from "./load.ts";
import { useAction, type Action } from "./load.ts";
import { isOutdated, type RequestError } from "./request.ts";
import { clock } from "./state.ts";
import { cut, exactTime, inWords, shortId, visibleParts } from "./text.ts";

/**
 * A text that somebody else wrote: an agent, an upstream, another person. It is only ever text, apart from the direction of what is
 * around it, and characters that nobody sees are shown by their names.
 *
 * @param most characters; what is longer is cut, with a button that shows all of it.
 * @param brief without the button: inside a link, which leads to where all of it is.
 */
export function Quoted({
  text,
  most,
  lines = false,
  brief = false,
}: {
  text: string;
  most?: number;
  lines?: boolean;
  brief?: boolean;
}) {
  const [isWhole, setWhole] = useState(false);
  const shown = most === undefined || isWhole ? text : cut(text, most);
  return (
    <bdi class={lines ? "quoted lines" : "quoted"} dir={lines ? "ltr" : "auto"}>
      {visibleParts(shown, lines ? "\n\r\t" : "").map((part) =>
        part.hidden ? (
          <span class="hidden-character" title="A character that is not seen">
            {part.text}
          </span>
        ) : (
          part.text
        ),
      )}
      {shown.length < text.length && brief && "…"}
      {shown.length < text.length && !brief && (
        <>
          …{" "}
          <button type="button" class="link" onClick={() => setWhole(true)}>
            Show all ({text.length} characters)
          </button>
        </>
      )}
    </bdi>
  );
}

/** A time in words, with the exact one beside it. */
export function Time({
  at,
  none = "never",
  exact = false,
}: {
  at: string | null | undefined;
  none?: string;
  exact?: boolean;
}) {
  if (!at) return <span class="faint">{none}</span>;
  const ms = Date.parse(at);
  // What has just come is newer than the last tick of the clock, and is not of the future.
  const now = Math.max(clock.value, Date.now());
  return (
    <time dateTime={at} title={exactTime(ms)}>
      {exact ? exactTime(ms) : inWords(ms, now)}
    </time>
  );
}

type Tone = "good" | "warn" | "bad" | "mute";

export const Badge = ({ tone, children }: { tone: Tone; children: ComponentChildren }) => (
  <span class={`badge ${tone}`}>{children}</span>
);

export const Tag = ({ text }: { text: string }) => (
  <span class="tag">
    <Quoted text={text} />
  </span>
);

/** A value in the mono face that can be copied. @param short how it is shown. */
export function Copyable({ value, short = false }: { value: string; short?: boolean }) {
  const [isCopied, setCopied] = useState(false);
  return (
    <span class="copyable mono">
      <span title={value}>
        <Quoted text={short ? shortId(value) : value} />
      </span>
      <button
        type="button"
        class="link"
        aria-label={`Copy ${value}`}
        onClick={() => {
          void navigator.clipboard.writeText(value).then(() => {
            setCopied(true);
            setTimeout(() => setCopied(false), 2000);
          });
        }}
      >
        {isCopied ? "Copied" : "Copy"}
      </button>
    </span>
  );
}

/** The head of a screen: where one is, how it stands, and the one thing to do. */
export const PageHead = ({
  title,
  sub,
  children,
  isAddress = false,
}: {
  title: ComponentChildren;
  sub?: ComponentChildren;
  children?: ComponentChildren;
  /** A URL is long, and set smaller. */
  isAddress?: boolean;
}) => (
  <header class="page">
    <div>
      <h1 tabIndex={-1} class={isAddress ? "address" : undefined}>
        {title}
      </h1>
      {sub && <p class="sub">{sub}</p>}
    </div>
    {children && <div class="buttons">{children}</div>}
  </header>
);

export function Card({
  title,
  action,
  children,
  pad = true,
}: {
  title?: string;
  action?: ComponentChildren;
  children: ComponentChildren;
  pad?: boolean;
}) {
  const id = useId();
  return (
    <section class="card" aria-labelledby={title && id}>
      {title && (
        <div class="head">
          <h2 id={id}>{title}</h2>
          {action}
        </div>
      )}
      <div class={pad ? "body" : ""}>{children}</div>
    </section>
  );
}

type ButtonProps = Omit<JSX.IntrinsicElements["button"], "type"> & {
  disabled?: boolean;
  kind?: "primary" | "danger" | undefined;
  small?: boolean;
  isRunning?: boolean;
  type?: "button" | "submit";
};

export const Button = ({
  kind,
  small = false,
  isRunning = false,
  disabled = false,
  type = "button",
  children,
  ...rest
}: ButtonProps) => (
  <button
    {...rest}
    type={type}
    class={["btn", kind, small && "small"].filter(Boolean).join(" ")}
    disabled={disabled}
    aria-busy={isRunning}
  >
    {children}
  </button>
);

/** What went wrong, the id of the request, and what to do. */
export function Fault({ error, retry }: { error: RequestError | undefined; retry?: () => void }) {
  if (!error) return null;
  return (
    <div class="fault" role="alert">
      <p>
        <Quoted text={error.message} most={600} />
      </p>
      {error.details.length > 0 && (
        <ul>
          {error.details.slice(0, 10).map(({ field, permission, message }) => (
            <li>
              <b>
                <Quoted text={field ?? permission ?? ""} most={100} />
              </b>{" "}
              <Quoted text={message} most={300} />
            </li>
          ))}
        </ul>
      )}
      <div class="row">
        {retry && (
          <Button small onClick={retry}>
            Try again
          </Button>
        )}
        {error.requestId && (
          <span class="faint">
            Request <Copyable value={error.requestId} />
          </span>
        )}
      </div>
    </div>
  );
}

/** A button that does something, and the fault of it; the frame says that the screen was outdated, because the button may go with it. */
export function ActionButton({ work, children, ...rest }: ButtonProps & { work: () => Promise<unknown> }) {
  const action = useAction(work);
  return (
    <>
      <Button {...rest} isRunning={action.isRunning} onClick={() => void action.run()}>
        {children}
      </Button>
      {action.error && !isOutdated(action.error) && <Fault error={action.error} />}
    </>
  );
}

/** What stands where something is being loaded: outlines for a second, then a word. */
function Skeleton({ lines = 3 }: { lines?: number }) {
  const [isSlow, setSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), 1000);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div class="skeleton" aria-busy="true" role="status">
      {Array.from({ length: lines }, () => (
        <div class="bone" />
      ))}
      <p class={isSlow ? "faint" : "visually-hidden"}>Loading. This takes longer than it should if it is still here.</p>
    </div>
  );
}

export const Empty = ({ title, children }: { title: string; children?: ComponentChildren }) => (
  <div class="empty">
    <p class="t">{title}</p>
    {children}
  </div>
);

/** What was loaded; a skeleton before, and what went wrong beside what was there, unless that is there no more. */
export function Ready<T>({
  of,
  lines = 3,
  children,
}: {
  of: Loaded<T>;
  lines?: number;
  children: (data: T) => ComponentChildren;
}) {
  return (
    <>
      <Fault error={of.error} retry={of.reload} />
      {of.data === undefined
        ? !of.error && <Skeleton lines={lines} />
        : of.error?.code !== "not_found" && children(of.data)}
    </>
  );
}

/** A screen of one thing: what kind it is stands as the title until it is there, and the way to the others where there is none. */
export const ReadyScreen = <T,>({
  of,
  kind,
  all,
  children,
}: {
  of: Loaded<T>;
  kind: string;
  all: { readonly href: string; readonly name: string };
  children: (data: T) => ComponentChildren;
}) => (
  <>
    {(of.data === undefined || of.error?.code === "not_found") && (
      <PageHead title={kind} sub={of.error && <a href={all.href}>{all.name}</a>} />
    )}
    <Ready of={of}>{children}</Ready>
  </>
);

/** A list with its next page. @param empty what stands for no row. */
export function Rows<Row>({
  of,
  empty,
  children,
  lines = 6,
}: {
  of: LoadedList<Row>;
  empty: ComponentChildren;
  lines?: number;
  children: (rows: readonly Row[]) => ComponentChildren;
}) {
  const more = useAction(() => of.more());
  return (
    <Ready of={of} lines={lines}>
      {({ rows, next }) => (
        <>
          {rows.length > 0 ? children(rows) : next === null && empty}
          {rows.length === 0 && next !== null && (
            <p class="faint pad">Nothing among those that were looked at so far.</p>
          )}
          {next !== null && (
            <div class="more">
              <Button isRunning={more.isRunning} onClick={() => void more.run()}>
                {more.isRunning ? "Loading…" : "More"}
              </Button>
              <Fault error={more.error} />
            </div>
          )}
        </>
      )}
    </Ready>
  );
}

export function Field({
  label,
  hint,
  error,
  children,
}: {
  label: string;
  hint?: ComponentChildren;
  error?: string | undefined;
  children: (id: string, describedBy: string | undefined) => ComponentChildren;
}) {
  const id = useId();
  const described = hint || error ? `${id}-hint` : undefined;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children(id, described)}
      {(hint || error) && (
        <p id={described} class={error ? "hint bad-text" : "hint"}>
          {error ?? hint}
        </p>
      )}
    </div>
  );
}

/** A field of one line. @param change is given what was typed. */
export const TextField = ({
  label,
  hint,
  change,
  ...input
}: {
  label: string;
  hint?: ComponentChildren;
  value: string;
  change: (text: string) => void;
  type?: "text" | "email";
  required?: boolean;
  minLength?: number;
  maxLength?: number;
  autocomplete?: "off";
  spellcheck?: boolean;
  autofocus?: boolean;
  class?: string;
}) => (
  <Field label={label} hint={hint}>
    {(id, described) => (
      <input
        // Which attributes there may be depends on the type, and these are of both.
        {...(input as JSX.IntrinsicElements["input"])}
        id={id}
        aria-describedby={described}
        onInput={(event) => change(event.currentTarget.value)}
      />
    )}
  </Field>
);

/** A form whose sending is an action. @param disabled it cannot be sent yet. */
export const Form = ({
  action,
  disabled = false,
  class: name,
  children,
}: {
  action: Action;
  disabled?: boolean;
  class?: string;
  children: ComponentChildren;
}) => (
  <form
    class={name}
    onSubmit={(event) => {
      event.preventDefault();
      if (!disabled) void action.run();
    }}
  >
    {children}
  </form>
);

/** A dialog of the browser, which keeps the focus and gives it back. @param close what Escape does. */
export function Dialog({
  title,
  close,
  children,
  drawer = false,
}: {
  title: ComponentChildren;
  close: () => void;
  children: ComponentChildren;
  drawer?: boolean;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    dialog.current!.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={drawer ? "drawer" : "dialog"}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
      onClick={(event) => event.target === dialog.current && close()}
    >
      <div class="dialog-body">
        <div class="head">
          <h2 id={id}>{title}</h2>
          <Button small onClick={close}>
            Close
          </Button>
        </div>
        {children}
      </div>
    </dialog>
  );
}

/** A dialog with a form, the fault of sending it, and the two ways out of it. @param label what sends it. */
export const FormDialog = ({
  title,
  action,
  label,
  kind = "primary",
  disabled = false,
  close,
  children,
}: {
  title: string;
  action: Action;
  label: string;
  kind?: "primary" | "danger";
  disabled?: boolean;
  close: () => void;
  children: ComponentChildren;
}) => (
  <Dialog title={title} close={close}>
    <Form action={action} disabled={disabled}>
      {children}
      <Fault error={action.error} />
      <div class="actions">
        <Button onClick={close}>Cancel</Button>
        <Button type="submit" kind={kind} isRunning={action.isRunning} disabled={disabled}>
          {label}
        </Button>
      </div>
    </Form>
  </Dialog>
);

/** What a change takes away, leaves and adds. */
export const ChangeLines = ({ lines }: { lines: readonly Line[] }) => (
  <>
    {lines.map(({ kind, line }) => {
      const text = <Quoted text={line} most={400} />;
      if (kind === "added") return <ins class="mono">+ {text}</ins>;
      if (kind === "removed") return <del class="mono">− {text}</del>;
      return <div class="same mono">{text}</div>;
    })}
  </>
);

/** A dialog in which the name of what is destroyed is typed. */
export function Destroy({
  title,
  name,
  what,
  label,
  children,
  work,
  close,
}: {
  title: string;
  /** What has to be typed. */
  name: string;
  /** What it is: `name`. */
  what: string;
  label: string;
  children: ComponentChildren;
  work: () => Promise<unknown>;
  close: () => void;
}) {
  const [typed, setTyped] = useState("");
  const action = useAction(async () => {
    await work();
    close();
  });
  // Compared as the person sees it: what is not seen in a name cannot be typed.
  const wanted = visibleParts(name)
    .map(({ text }) => text)
    .join("");
  return (
    <FormDialog
      title={title}
      action={action}
      label={label}
      kind="danger"
      disabled={typed.trim() !== wanted.trim()}
      close={close}
    >
      {children}
      <TextField
        label={`Type the ${what} to go on`}
        hint={
          <>
            It is{" "}
            <b class="mono">
              <Quoted text={name} />
            </b>
          </>
        }
        autocomplete="off"
        spellcheck={false}
        autofocus
        value={typed}
        change={setTyped}
      />
    </FormDialog>
  );
}

/** A secret that is shown once. It is in no address and no message, and gone when the dialog closes. */
export function SecretOnce({
  title,
  secret,
  file,
  children,
  close,
}: {
  title: string;
  secret: string;
  file: string;
  children?: ComponentChildren;
  close: () => void;
}) {
  const [isKept, setKept] = useState(false);
  const [isCopied, setCopied] = useState(false);
  const id = useId();
  return (
    <Dialog title={title} close={() => isKept && close()}>
      <p>It is shown here once, and nobody can show it again. Keep it where the program reads it, and nowhere else.</p>
      <code class="secret" tabIndex={0} role="textbox" aria-readonly="true" aria-label="The secret">
        {secret}
      </code>
      <div class="row">
        <Button onClick={() => void navigator.clipboard.writeText(secret).then(() => setCopied(true))}>
          {isCopied ? "Copied" : "Copy"}
        </Button>
        <Button onClick={() => saveFile(new Blob([`${secret}\n`], { type: "text/plain" }), file)}>Download</Button>
      </div>
      {children}
      <div class="check">
        <input id={id} type="checkbox" checked={isKept} onChange={(event) => setKept(event.currentTarget.checked)} />
        <label for={id}>I have kept it</label>
      </div>
      <div class="actions">
        <Button kind="primary" disabled={!isKept} onClick={close}>
          Done
        </Button>
      </div>
    </Dialog>
  );
}

/** Gives the person a file. */
export function saveFile(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** A list of names and values. */
export const Facts = ({
  rows,
}: {
  rows: readonly (readonly [ComponentChildren, ComponentChildren] | false | undefined)[];
}) => (
  <dl class="facts">
    {rows.map(
      (row) =>
        row && (
          <div>
            <dt>{row[0]}</dt>
            <dd>{row[1]}</dd>
          </div>
        ),
    )}
  </dl>
);

export interface Option {
  readonly value: string;
  readonly label: string;
}

/** A filter: a choice that stands in the address. */
export const Choice = ({
  label,
  value,
  options,
  choose,
}: {
  label: string;
  value: string;
  options: readonly Option[];
  choose: (value: string) => void;
}) => (
  <select aria-label={label} value={value} onChange={(event) => choose(event.currentTarget.value)}>
    {options.map((option) => (
      <option value={option.value} selected={option.value === value}>
        {option.label}
      </option>
    ))}
  </select>
);

/** A search that acts a moment after the last letter. */
export function Search({ label, value, search }: { label: string; value: string; search: (text: string) => void }) {
  const [text, setText] = useState(value);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => setText(value), [value]);
  return (
    <input
      class="search"
      type="search"
      data-search
      aria-label={label}
      placeholder={label}
      value={text}
      onInput={(event) => {
        const next = event.currentTarget.value;
        setText(next);
        clearTimeout(timer.current);
        timer.current = setTimeout(() => search(next.trim()), 300);
      }}
    />
  );
}
