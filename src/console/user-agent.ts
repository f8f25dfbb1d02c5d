export { visibleText } from "./text.ts";

/**
 * Programs by a product of theirs (https://www.rfc-editor.org/rfc/rfc9110#section-10.1.5). Most browsers name others too, which they are
 * compatible with: the first that is found is the one (https://developer.mozilla.org/docs/Web/HTTP/Guides/Browser_detection_using_the_user_agent).
 */
const BROWSERS: readonly (readonly [RegExp, string])[] = [
  [/\b(?:Edg|EdgA|EdgiOS|Edge)\/\d/, "Edge"],
  [/\b(?:OPR|OPiOS)\/\d/, "Opera"],
  [/\bSamsungBrowser\/\d/, "Samsung Internet"],
  [/\b(?:Firefox|FxiOS)\/\d/, "Firefox"],
  [/\b(?:Chrome|CriOS|HeadlessChrome)\/\d/, "Chrome"],
  [/\bVersion\/\d[\d.]* (?:Mobile\/\w+ )?Safari\/\d/, "Safari"],
];

/** Where a program runs. An iPhone says "like Mac OS X", Android and ChromeOS name what they are made of. */
const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/\biPhone\b/, "iPhone"],
  [/\biPad\b/, "iPad"],
  [/\bAndroid\b/, "Android"],
  [/\bCrOS\b/, "ChromeOS"],
  [/\bWindows NT\b/, "Windows"],
  // An iPad says this too, unless it is told to ask for the pages of phones.
  [/\bMacintosh\b/, "macOS"],
  [/\bLinux\b/, "Linux"],
];

/** Where a session of a person is: this browser, the command that it was opened for, or a browser. Null if none is known. */
export const sessionName = ({
  current,
  client,
  user_agent,
}: {
  readonly current: boolean;
  readonly client: string | null;
  readonly user_agent: string;
}): string | null => (current ? "This browser" : (client ?? browserName(user_agent)));

/**
 * A short name of a browser, such as "Firefox on Linux", by what it calls itself. Every word is of the lists above, so that nothing that a
 * program has sent is shown; but it may call itself what it is not.
 *
 * @returns null if none is known.
 */
export function browserName(userAgent: string): string | null {
  const find = (known: typeof BROWSERS) => known.find(([pattern]) => pattern.test(userAgent))?.[1];
  const [browser, system] = [find(BROWSERS), find(SYSTEMS)];
  if (browser === undefined) return null;
  return system === undefined ? browser : `${browser} on ${system}`;
}
