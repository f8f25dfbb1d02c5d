/** One thing that `doctor` looked at. `fault`: something does not work. `warning`: something will not, or need not be so. */
export interface Finding {
  readonly name: string;
  readonly state: "ok" | "off" | "warning" | "fault";
  /** What is the matter, and its cure. */
  readonly message: string;
}
