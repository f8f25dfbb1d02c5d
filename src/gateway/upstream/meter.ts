/** How many bytes of the two bodies of a call have passed so far. Null: the runtime has copied them, and does not say how many. */
export interface Meter {
  /** Of the request, as they arrived. */
  bytesIn: number | null;
  /** Of the answer, as they were sent to the agent. */
  bytesOut: number | null;
}
