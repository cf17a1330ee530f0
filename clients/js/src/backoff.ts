/**
 * How long to pause after failed attempts to get the link back: between half of
 * and the whole of `first`, doubled with each further failure up to `max`. A
 * pause that the server asks for is kept, or lengthened to the above from the
 * second failure on. All in milliseconds.
 */
export interface Backoff {
  /** The longest first pause; 1,000 by default. */
  readonly first?: number;
  /** The longest pause; 30,000 by default. */
  readonly max?: number;
  /** A link that held so long starts over from `first`; 30,000 by default. */
  readonly healthy?: number;
}

/** How long to pause after so many failures in a row (1 or more). @internal */
export function pause(b: Backoff, failures: number, asked: number, random: () => number): number {
  if (asked > 0 && failures <= 1) return asked;
  const first = b.first ?? 1000;
  const longest = Math.min(Math.max(b.max ?? 30_000, first), first * 2 ** (failures - 1));
  // Half of it is chance, so that the pages of a restarted server do not all come
  // back in the same moment.
  return Math.max(longest / 2 + (random() * longest) / 2, asked);
}
