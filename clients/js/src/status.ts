// What a session says of itself.

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

/** What `patch` makes of `status`. @internal */
export function patched(status: Status, patch: Patch): Status {
  const out: { -readonly [K in keyof Status]: Status[K] } = { ...status };
  if (patch.show !== undefined) out.show = patch.show;
  if (patch.invisible !== undefined) out.invisible = patch.invisible;
  if (patch.text === null) delete out.text;
  else if (patch.text !== undefined) out.text = patch.text;
  if (patch.properties !== undefined) {
    // A map, for a key like "__proto__" is a key like any other.
    const properties = new Map(Object.entries(status.properties ?? {}));
    for (const [key, value] of Object.entries(patch.properties)) {
      if (value === null) properties.delete(key);
      else if (value !== undefined) properties.set(key, value);
    }
    out.properties = Object.fromEntries(properties);
  }
  return freeze(out);
}

/** What `first` and then `next` alter together. @internal */
export function merged(first: Patch, next: Patch): Patch {
  const properties = { ...first.properties, ...next.properties };
  return { ...first, ...next, ...(Object.keys(properties).length > 0 && { properties }) };
}

/** A patch as the wire has it. @internal */
export function patchFrame(patch: Patch): Record<string, unknown> {
  const { text, properties, ...rest } = patch;
  const status: Record<string, unknown> = { ...rest };
  const frame: Record<string, unknown> = { t: 'patch', status };
  if (text === null) frame['clear_text'] = true;
  else if (text !== undefined) status['text'] = text;
  if (properties !== undefined) {
    const entries = Object.entries(properties);
    const clear = entries.filter(([, value]) => value === null).map(([key]) => key);
    if (clear.length > 0) frame['clear'] = clear;
    if (clear.length < entries.length) status['properties'] = Object.fromEntries(entries.filter(([, value]) => value !== null));
  }
  return frame;
}

/** A copy that later changes of the caller's object do not reach. @internal */
export function freeze<T>(value: T): T {
  if (Array.isArray(value)) return Object.freeze(value.map(freeze)) as T;
  if (typeof value !== 'object' || value === null) return value;
  const copy: Record<string, unknown> = {};
  // A key like "__proto__" is a key like any other.
  for (const [key, v] of Object.entries(value)) Object.defineProperty(copy, key, { value: freeze(v), enumerable: true });
  return Object.freeze(copy) as T;
}
