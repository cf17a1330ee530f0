import { type Change, type Presence } from './presence.ts';
/**
 * A live map of the watched users. Everything it gives is frozen, and the same
 * object as before as long as nothing changed, which is what
 * `useSyncExternalStore` and its likes want. Its functions need no `this`.
 */
export interface PresenceStore {
    /** What is known of a user; undefined for who is not watched, or not told of yet. */
    get(this: void, user: string): Presence | undefined;
    /** All of whom something is known. */
    getSnapshot(this: void): ReadonlyMap<string, Presence>;
    /** Calls `listener` after each change of the snapshot. Call what it returns to end that. */
    subscribe(this: void, listener: () => void): () => void;
    /** Calls `listener` after each change of one user. */
    subscribeUser(this: void, user: string, listener: () => void): () => void;
    /** Calls `listener` with what changed, once for each user of a message of the server. */
    onChange(this: void, listener: (change: Change) => void): () => void;
}
