import type { Show } from './status.ts';
/** The full picture of one user. */
export interface Presence {
    readonly user: string;
    /** At least one session is open, and not hidden from us. */
    readonly available: boolean;
    /** When the user was last available, in milliseconds since 1970. Left out for who never was. */
    readonly lastSeen?: number;
    /** Since when this may be old, because the server does not hear the part of it that knows better: in answers of `get`, and of a watched user of whom it knows nothing. */
    readonly staleSince?: number;
    /** Oldest first. */
    readonly sessions: readonly UserSession[];
}
/** One session (a device, a tab) of a watched user. */
export interface UserSession {
    /** Public: the same for everybody. */
    readonly id: string;
    readonly platform?: string;
    readonly product?: string;
    readonly show: Show;
    /** In the language of our device's locale as far as there is one. */
    readonly text?: string;
    /** The language that `text` is really in. */
    readonly locale?: string;
    readonly properties?: Readonly<Record<string, string | number | boolean>>;
    /** When the session was opened, in milliseconds since 1970. */
    readonly connectedAt: number;
    /** When it said its status, in milliseconds since 1970. */
    readonly updatedAt: number;
}
/**
 * Why a session was closed: by its user (`CLIENT`), its link was lost
 * (`DISCONNECTED`), it was silent (`HEARTBEAT`), the same device came anew
 * (`SUPERSEDED`), an administrator ended it (`ADMIN`), or its token's life was
 * over (`EXPIRED`).
 */
export type CloseReason = 'CLIENT' | 'DISCONNECTED' | 'HEARTBEAT' | 'SUPERSEDED' | 'ADMIN' | 'EXPIRED' | (string & {});
/** One step of one session of a watched user. */
export interface Step {
    /** `current`: it was there already when watching began. */
    readonly kind: 'current' | 'opened' | 'updated' | 'closed';
    /** For `closed`: as it was last. */
    readonly session: UserSession;
    /** For `closed`, where the server told why. */
    readonly why?: CloseReason;
}
/** What changed of one user. */
export interface Change {
    readonly user: string;
    /** What was known before; undefined at the first news. */
    readonly before: Presence | undefined;
    /** What is known now; undefined when the user is no longer watched. */
    readonly now: Presence | undefined;
    /** The steps from `before` to `now`. Empty when only the user's own values changed. */
    readonly steps: readonly Step[];
}
