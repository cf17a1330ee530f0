import type { PresenceError } from './errors.ts';
import type { Status } from './status.ts';

/** What is known of a session. It is frozen; a change makes a new one. */
export interface SessionSnapshot {
  /**
   * `idle` before {@link PresenceSession.open}, `connecting` until it is open,
   * then `up` or `down`; `over` at the end, which is final.
   */
  readonly link: 'idle' | 'connecting' | 'up' | 'down' | 'over';
  /** The session's public id, by which others see it. */
  readonly id?: string;
  /** The status that was last asked for, where it is known. */
  readonly status?: Status;
  /** Since when the link is down, in milliseconds since 1970. What the store has is as old as that. */
  readonly downSince?: number;
  /** When the next attempt is made. */
  readonly retryAt?: number;
  /** Why the link is down, or the session is over. */
  readonly error?: PresenceError;
  /**
   * Why users whom no call waits for (those of the `watch` option, or told again
   * to another server) are no longer watched; they are in its `fields`.
   */
  readonly watchError?: PresenceError;
  /** Why the friends are not watched though they are wanted. If that may get better, it is tried again. */
  readonly friendsError?: PresenceError;
}
