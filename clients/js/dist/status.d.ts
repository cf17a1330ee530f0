/** How ready a session says its user is. */
export type Show = 'online' | 'away' | 'busy';
/**
 * An entry of the product's catalogue of messages, which each watcher reads in
 * its own language.
 */
export interface Reference {
    /** The entry's name. */
    readonly token: string;
    /** The values for its placeholders. */
    readonly args?: Readonly<Record<string, Value>>;
    /** Shown where no catalogue has the entry. */
    readonly fallback?: string;
}
/**
 * A value of a property. Whole numbers arrive as integers and the others as
 * floats; beyond `Number.MAX_SAFE_INTEGER` use a string.
 */
export type Value = string | number | boolean | Reference;
/** All that a session says of itself. `{}` is online, without a word. */
export interface Status {
    /** `online` when it is left out. */
    readonly show?: Show;
    /** As it is, or a reference that each watcher reads in its own language. */
    readonly text?: string | Reference;
    /** Named values. */
    readonly properties?: Readonly<Record<string, Value>>;
    /** Makes this session look offline to everybody but its own user. */
    readonly invisible?: boolean;
}
/** What to alter in a {@link Status}. What is left out stays. */
export interface Patch {
    readonly show?: Show;
    /** A new text; `null` takes it away. */
    readonly text?: string | Reference | null;
    /** New values; `null` takes one away. */
    readonly properties?: Readonly<Record<string, Value | null>>;
    readonly invisible?: boolean;
}
