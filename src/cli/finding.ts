/** One thing that `doctor` looked at. `fault`: something does not work. `warning`: something will not, or need not be so. `skipped`: only others may look at it. */
export interface Finding {
  readonly name: string;
  readonly state: "ok" | "off" | "skipped" | "warning" | "fault";
  /** What is the matter, and its cure. */
  readonly message: string;
}
