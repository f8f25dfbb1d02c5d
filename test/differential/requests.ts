import { URLENCODED, type Form } from "./parsers.ts";

/** Requests near the watched names, from a seed: the same seed gives the same requests. */
export class RequestGenerator {
  #state: number;
  readonly #names: readonly string[];

  /** @param names the watched names. */
  constructor(seed: number, names: readonly string[]) {
    this.#state = seed >>> 0;
    this.#names = names;
  }

  /** A query as it stands in a URL: ASCII, without a space or a `#`. */
  query(): string {
    return this.#pairs().replace(/[\u0000-\u0020#"<>\u007f-\uffff]/g, (char) => encodeURIComponent(char));
  }

  /** A urlencoded or a multipart form. */
  urlencoded(): Form {
    const raw = this.#often(0.9)
      ? this.#pairs()
      : this.#pairs() + this.#one(["\r\n", "\n", "\0", "\ufeff", " "]) + this.#pairs();
    return { contentType: URLENCODED, body: Buffer.from(raw) };
  }

  multipart(): Form {
    const line = this.#often(0.95) ? "\r\n" : "\n";
    const boundary = this.#often(0.9) ? "b" : this.#one(["b b", "'b'", 'b"', "", "b;c", "b,c"]);
    let text = this.#often(0.95) ? "" : this.#one(["preamble\r\n", "\r\n", "--b", " "]);
    const count = 1 + this.#below(3);
    for (let i = 0; i < count; i++) {
      text += `--b${this.#often(0.97) ? "" : this.#one([" ", "\t", "x", "--", "\0"])}${line}${this.#part(line)}${line}`;
    }
    text += this.#often(0.95)
      ? `--b--${line}`
      : this.#one(["--b", "", `--b--${line}--b${line}${this.#part(line)}${line}--b--`]);
    const parameter = this.#often(0.9)
      ? `boundary=${boundary}`
      : this.#one([
          'boundary="b"',
          "Boundary=b",
          "boundary=b; boundary=c",
          "x=y; boundary=b",
          "boundary= b",
          "boundary=b; charset=utf-8",
        ]);
    const type = this.#often(0.95)
      ? "multipart/form-data"
      : this.#one(["multipart/mixed", "multipart/related", "Multipart/Form-Data", "multipart/form-data, text/plain"]);
    return { contentType: `${type}; ${parameter}`, body: Buffer.from(text, "latin1") };
  }

  #pairs(): string {
    const count = 1 + this.#below(3);
    const pairs = Array.from({ length: count }, () => {
      const name = this.#name();
      return this.#often(0.95) ? `${name}=${this.#value()}` : name;
    });
    return pairs.join(this.#often(0.95) ? "&" : this.#one([";", "&;", "& ", "&amp;", "?", ","]));
  }

  #value(): string {
    const values = [
      "customer",
      "data.customer",
      "invoice,charge",
      "refunds",
      "x",
      "",
      "a%20b",
      "1;token=2",
      "%26token=1",
      "data.invoice.customer",
    ];
    return this.#one(values);
  }

  /** A name, watched or not, perhaps with something around or in it. */
  #name(): string {
    let name = this.#one(this.#often(0.6) ? this.#names : ["text", "limit", "a", "page"]);
    if (this.#often(0.3)) name += this.#one(["[]", "[0]", "[x]", "[0][y]", "%5B%5D", "%5b0%5d"]);
    while (this.#often(0.35)) {
      const at = this.#one([0, name.length, name.length, this.#below(name.length + 1)]);
      name = name.slice(0, at) + this.#one(ODD) + name.slice(at);
    }
    if (this.#often(0.1)) name = name.replace(/[a-z]/, (char) => char.toUpperCase());
    if (this.#often(0.1)) name = name.replace(/[a-z_]/, (char) => `%${char.charCodeAt(0).toString(16)}`);
    if (this.#often(0.05)) name = name.replaceAll("_", this.#one([".", "+", "%20", "[", "%5b", "-", ""]));
    return name;
  }

  #part(line: string): string {
    const disposition = `Content-Disposition${this.#often(0.97) ? ": " : this.#one([":", " : ", ":\t"])}${this.#often(0.96) ? "form-data" : this.#one(["attachment", "form-data ", "FORM-DATA", ""])}${this.#parameters()}`;
    const headers = [disposition];
    if (this.#often(0.15)) headers.splice(this.#below(2), 0, this.#one(HEADERS));
    if (this.#often(0.04))
      headers.push(
        disposition.replace(/name/, "name"),
        `Content-Disposition: form-data; name="${this.#one(this.#names)}"`,
      );
    return `${headers.join(line)}${line}${line}${this.#one(["value", "", 'x; name="token"', '\r\nContent-Disposition: form-data; name="token"\r\n\r\n1'])}`;
  }

  #parameters(): string {
    const separator = () =>
      this.#often(0.92)
        ? "; "
        : this.#one([";", " ; ", ", ", ";\r\n ", ";\r\n\t", ";;", "; x=y; ", '; x="; name=token; "; ']);
    const key = (name: string) =>
      this.#often(0.93)
        ? `${name}=`
        : this.#one([
            `${name.toUpperCase()}=`,
            `${name} =`,
            `${name}= `,
            `${name}==`,
            `${name}*=utf-8''`,
            `${name}*0=`,
            `x${name}=`,
          ]);
    const parameters = [`${separator()}${key("name")}${this.#quoted(this.#partName())}`];
    if (this.#often(0.2)) {
      const file = this.#one([
        "a.txt",
        "",
        "a; name=token",
        "it's",
        'a\\"; name=\\"token',
        "%22; name=%22token",
        "a\\",
        "ü",
      ]);
      parameters.splice(this.#below(2), 0, `${separator()}${key("filename")}${this.#quoted(file)}`);
    }
    return parameters.join("");
  }

  /** Part names are not percent-encoded. */
  #partName(): string {
    const name = this.#name();
    if (this.#often(0.1)) return name;
    return name.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  }

  #quoted(text: string): string {
    if (this.#often(0.8)) return `"${text}"`;
    return this.#one([
      text,
      `'${text}'`,
      `"${text}`,
      `${text}"`,
      `"${text.slice(0, 2)}\\${text.slice(2)}"`,
      `"\\"${text}"`,
      `"${text}\\"`,
      `"${text}\0x"`,
      `" ${text}"`,
      `=?utf-8?q?${text}?=`,
    ]);
  }

  #one<T>(choices: readonly T[]): T {
    return choices[this.#below(choices.length)]!;
  }

  #often(share: number): boolean {
    return this.#random() < share;
  }

  #below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  /** Mulberry32. */
  #random(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}

const ODD = [
  "[",
  "]",
  "[[",
  "[]",
  "[0",
  "%5B",
  "%5D",
  ".",
  "%2E",
  "+",
  "%20",
  " ",
  "%09",
  "%0A",
  "%0D",
  "%00",
  "%A0",
  "%C2%A0",
  "%EF%BB%BF",
  "_",
  "-",
  "!",
  "'",
  "%22",
  "\\",
  "=",
  "%3D",
  ";",
  "%3B",
  "?",
  ":",
  "%25",
  "%2574",
  "é",
  "(",
  "|",
  "$",
  "@",
  "/",
];

const HEADERS = [
  "Content-Type: text/plain",
  "Content-Type: text/plain; charset=utf-16",
  'Content-Type: text/plain; name="token"',
  "Content-Type: multipart/mixed; boundary=c",
  "Content-ID: token",
  "Content-Transfer-Encoding: base64",
  "Content-Transfer-Encoding: 8bit",
  "Content-Length: 5",
  "X-Other: 1",
  " folded",
  "no colon",
  'Content-Disposition: form-data; name="text"',
];
