// What can go wrong, in the server's words and a few of our own.

/**
 * Why something was refused or ended, as a word that programs may act on. The
 * server may know more of them than are listed.
 */
export type Reason =
  | 'JWT_INVALID'
  | 'JWT_EXPIRED'
  | 'TOKEN_EXPIRED'
  | 'FIELD_INVALID'
  | 'SESSION_GONE'
  | 'SESSION_TOKEN_INVALID'
  | 'SESSION_TOKEN_NOT_YOURS'
  | 'SESSION_NOT_CONNECTED'
  | 'RESUME_FROM_FUTURE'
  | 'REPLACED_STREAM'
  | 'LIMIT_SUBSCRIPTIONS'
  | 'LIMIT_BATCH'
  | 'LIMIT_FRIENDS'
  | 'LIMIT_SESSIONS'
  | 'LOG_UNAVAILABLE'
  | 'FRIENDS_UNAVAILABLE'
  | 'RATE_LIMITED'
  | 'TOO_MANY_CONNECTIONS'
  | 'SLOW_CONSUMER'
  | 'DRAINING'
  /** Pages of this origin may not call; see `cors.origins` of the app. */
  | 'ORIGIN_REFUSED'
  | 'NO_HELLO'
  | 'FRAME_INVALID'
  | 'INTERNAL'
  /** The server ended the session for a reason that opening another would defy. */
  | 'SESSION_CLOSED'
  /** The server does not watch the users in {@link PresenceError.fields}. Ours. */
  | 'WATCH_REJECTED'
  /** The link to the server is down, or could not be made. Ours. */
  | 'LINK_DOWN'
  /** The server was silent for too long. Ours. */
  | 'SILENT'
  /** The server said something that is no part of the interface. Ours. */
  | 'PROTOCOL'
  /** The program's own token function failed; see `cause`. Ours. */
  | 'TOKEN_UNAVAILABLE'
  /** {@link PresenceSession.leave}, `logout` or `close` was called. Ours. */
  | 'CLOSED'
  | (string & {});

/** One violated rule of what was asked. */
export interface Field {
  /** As the interface spells it, such as `status.properties`. */
  readonly path: string;
  /** What is wrong and what is allowed. */
  readonly message: string;
}

/** What a {@link PresenceError} is made of. @internal */
export interface Fault {
  readonly reason: Reason;
  readonly message: string;
  readonly fields?: readonly Field[] | undefined;
  readonly retryAfter?: number | undefined;
  readonly cause?: unknown;
}

/** Reasons after which only a new session helps. */
const lost: ReadonlySet<string> = new Set(['SESSION_GONE', 'SESSION_TOKEN_INVALID', 'SESSION_TOKEN_NOT_YOURS']);

/** Reasons that the same words will meet for ever. */
const definite: ReadonlySet<string> = new Set([
  'JWT_INVALID', 'FIELD_INVALID', 'FRAME_INVALID', 'ORIGIN_REFUSED', 'REPLACED_STREAM', 'SESSION_CLOSED', 'WATCH_REJECTED', 'CLOSED',
  'LIMIT_SUBSCRIPTIONS', 'LIMIT_BATCH', 'LIMIT_FRIENDS',
]);

/**
 * What every promise of this package rejects with. Its message is for people and
 * never holds a token; its `reason` is for programs.
 */
export class PresenceError extends Error {
  /** Why, as a word. */
  readonly reason: Reason;
  /** The violated rules (`FIELD_INVALID` and `WATCH_REJECTED` only). */
  readonly fields: readonly Field[];
  /** How many milliseconds the server asks to be left alone; 0 when it does not. */
  readonly retryAfter: number;

  /** @internal */
  constructor(fault: Fault) {
    super(fault.message, fault.cause === undefined ? undefined : { cause: fault.cause });
    this.name = 'PresenceError';
    this.reason = fault.reason;
    this.fields = fault.fields ?? [];
    this.retryAfter = fault.retryAfter ?? 0;
  }

  /** Whether the very same call may succeed later. */
  get temporary(): boolean {
    return !definite.has(this.reason);
  }

  /** Whether the session that was resumed is no more. @internal */
  get lost(): boolean {
    return lost.has(this.reason);
  }
}
