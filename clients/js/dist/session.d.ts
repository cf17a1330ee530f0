import { PresenceError } from './errors.ts';
import { type SessionOptions } from './options.ts';
import type { Presence } from './presence.ts';
import type { Patch, Status } from './status.ts';
import type { SessionSnapshot } from './snapshot.ts';
import { type PresenceStore } from './store.ts';
import type { Attribute } from './topics.ts';
/**
 * The user being online on this device. It keeps itself alive: when the link
 * breaks it connects again with growing, jittered pauses, resumes where it was,
 * and states anew what the server may have lost. Its {@link store} keeps what is
 * known meanwhile, so nobody seems to leave and come back because of our link.
 *
 * What `set`, `patch`, `watch` and `watchFriends` ask for is told to the server
 * until it took it. Their promises resolve then, however often the link was lost
 * in between; they reject with a {@link PresenceError} when the server refuses, or
 * the session is over first, and then nothing has changed.
 *
 * Functions need no `this`.
 */
export declare class PresenceSession {
    #private;
    /** What is known of the watched users. */
    readonly store: PresenceStore;
    /** Nothing is connected before {@link open}. Throws a TypeError for options that cannot work. */
    constructor(options: SessionOptions);
    /**
     * Connects. Resolves when the user is online, rejects when that will never be.
     * A server that cannot be reached is tried until it can, or until
     * {@link close}. May be called again to wait for the same.
     */
    readonly open: () => Promise<void>;
    /** Resolves when the session is over, with why. */
    get over(): Promise<PresenceError>;
    /** What is known of the session: the same object as long as nothing changed. */
    readonly getSnapshot: () => SessionSnapshot;
    /** Calls `listener` after each change of the snapshot. Call what it returns to end that. */
    readonly subscribe: (listener: () => void) => (() => void);
    /** Says a new status in place of the old one. */
    readonly set: (status: Status) => Promise<void>;
    /** Alters the status. */
    readonly patch: (patch: Patch) => Promise<void>;
    /** Watches users too. Rejects with `WATCH_REJECTED`, and their names, for those whom the server refuses. */
    readonly watch: (...users: string[]) => Promise<void>;
    /** Watches users no longer. They leave the store at once, save those who are watched as friends: those come anew. */
    readonly unwatch: (...users: string[]) => void;
    /** Watches the user's friends too. */
    readonly watchFriends: () => Promise<void>;
    /** Watches the friends no longer. Who is not watched by name leaves the store at once. */
    readonly unwatchFriends: () => void;
    /**
     * Asks once, without watching. With `sessions`, theirs are told too. Who is
     * `unknown` the server cannot tell of now. Rejects at once while the link is
     * down.
     */
    readonly get: (users: readonly string[], o?: {
        readonly sessions?: boolean;
        readonly locale?: string;
    }) => Promise<Map<string, Presence & {
        readonly unknown: boolean;
    }>>;
    /** The attributes of a user, this one's own without a name. Rejects at once while the link is down. */
    readonly attributes: (user?: string) => Promise<readonly Attribute[]>;
    /**
     * Sets attributes of this user, and takes away those named in `remove`: all of
     * them or, when it rejects, none. Resolves with how many changed, when they are
     * stored and told. Rejects at once while the link is down.
     */
    readonly setAttributes: (values: Readonly<Record<string, unknown>>, remove?: readonly string[]) => Promise<number>;
    /**
     * Fetches a new access token and gives it to the server, without a new
     * connection. The session does so by itself when a call is refused because the
     * token has expired.
     */
    readonly renewToken: () => Promise<void>;
    /**
     * Says goodbye for this device: the user goes offline here at once, and stays
     * logged in. The session is over when it resolves. It rejects when the server
     * could not be reached: then it finds out by itself within its grace period.
     */
    readonly leave: () => Promise<void>;
    /** {@link leave} for a user who logs out. */
    readonly logout: () => Promise<void>;
    /**
     * Lets go of the session without a word, as if the link were lost: the user
     * stays online for the server's grace period. With `remember`, the next session
     * in this tab goes on with it.
     */
    readonly close: () => void;
}
