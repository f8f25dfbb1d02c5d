import type { Lab } from "./lab.ts";
import { randomOf, type Random } from "./random.ts";

export type Size = "small" | "full";

/** What came of the inputs of one family. */
export interface Outcome {
  /** One line of evidence for each input that got through. */
  readonly through: readonly string[];
  /** What could not be tried here, and why. */
  readonly skipped?: readonly string[];
  /** Whether nothing could be tried at all. */
  readonly isUntried?: boolean;
}

/** One kind of attack. */
export interface Family {
  readonly name: string;
  /** What an attacker wants with it. */
  readonly wants: string;
  /** Makes the inputs, the same for the same seed and size, and a function that tries them. */
  plan(seed: number, size: Size): { readonly inputs: readonly unknown[]; readonly run: (lab: Lab) => Promise<Outcome> };
}

/**
 * A family of attacks.
 *
 * @param inputs makes all inputs before any is sent: how many are tried is known without a gateway.
 * @param attack tries them. It judges by what arrived at the hostile servers and by what the client was answered, with checks of
 *   its own and never by the product's functions. It throws if a request that must pass does not: an attack on a gateway that
 *   refuses everything shows nothing.
 */
export const family = <Input>(
  name: string,
  wants: string,
  inputs: (random: Random, size: Size) => readonly Input[],
  attack: (lab: Lab, inputs: readonly Input[]) => Promise<Outcome>,
): Family => ({
  name,
  wants,
  plan(seed, size) {
    const made = inputs(randomOf(seed, name), size);
    return { inputs: made, run: (lab) => attack(lab, made) };
  },
});

/** A text as evidence: one line of visible ASCII, of bounded length. */
export const shown = (text: string, length = 160): string =>
  JSON.stringify(text)
    .slice(1, -1)
    .replace(/[^\x20-\x7e]/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
    .slice(0, length);
