// What lies in the tab's storage between two pages. It lies there only while no
// page holds the session: a tab that is duplicated takes its storage along, and
// two pages would take the session from each other for ever.

import type { Keep } from './page.ts';
import { type Status, freeze } from './status.ts';

/** What the next page of a tab needs to go on. @internal */
export interface Remembered {
  readonly resume: string;
  readonly status?: Status;
  readonly watched: readonly string[];
  readonly friends: boolean;
}

/** Puts it there. @internal */
export function keep(storage: Keep | undefined, name: string, what: Remembered): void {
  try {
    storage?.setItem(name, JSON.stringify(what));
  } catch {
    // A full storage only means that the next page begins a new session.
  }
}

/** Takes it from there. @internal */
export function recall(storage: Keep | undefined, name: string): Remembered | undefined {
  try {
    const text = storage?.getItem(name);
    if (text === null || text === undefined) return undefined;
    storage?.removeItem(name);
    const kept = JSON.parse(text) as Partial<Remembered>;
    if (typeof kept.resume !== 'string') return undefined;
    return {
      resume: kept.resume, watched: Array.isArray(kept.watched) ? kept.watched : [], friends: kept.friends === true,
      ...(typeof kept.status === 'object' && kept.status !== null && { status: freeze(kept.status) }),
    };
  } catch {
    return undefined; // whatever lies there is not ours
  }
}
