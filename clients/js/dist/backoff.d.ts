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
