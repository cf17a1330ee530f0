/**
 * Time and chance, which tests put in place of the real ones.
 * @internal
 */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls `then` after `ms` milliseconds, unless the returned function is called before. */
  after(ms: number, then: () => void): () => void;
  /** A number from 0 (included) to 1 (not). */
  random(): number;
}

declare const setTimeout: (then: () => void, ms: number) => unknown;
declare const clearTimeout: (timer: unknown) => void;

/** The real clock. @internal */
export const clock: Clock = {
  now: () => Date.now(),
  after: (ms, then) => {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

/** A listener of ours that throws is the program's affair, and must not stop the others. @internal */
export function call(listener: () => void): void {
  try {
    listener();
  } catch (err) {
    queueMicrotask(() => {
      throw err;
    });
  }
}

declare const queueMicrotask: (then: () => void) => void;
