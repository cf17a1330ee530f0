// The presence store: what is known of the watched users, and who wants to hear
// of changes. It has no clock and no link.
//
// A round is the time between two beginnings: of a new session, or of a link
// whose server had to start over. When a round begins, everything known stays, but
// counts as unconfirmed. A snapshot confirms sessions one by one; when it is
// complete, what it left out is closed. So to a listener a round that changed
// nothing looks like nothing at all.

import { call } from './clock.ts';
import { type Change, type CloseReason, type Presence, type Step, type UserSession, oldestFirst, same } from './presence.ts';
import type { News } from './wire.ts';

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

/** One watched user. */
interface Person {
  presence: Presence | undefined; // as it was given out last
  available: boolean;
  lastSeen: number | undefined;
  stale?: number | undefined; // since when the server cannot know
  told: number; // the round of the newest snapshot of this user
  sessions: Map<string, { session: UserSession; round: number }>;
}

/** The store, as the session writes it. @internal */
export class Picture implements PresenceStore {
  #people = new Map<string, Person>();
  #round = 0;
  #snapshot: ReadonlyMap<string, Presence> = new Map();
  #old = false; // the snapshot is
  #steps = new Map<string, Step[]>(); // of users with changes that are not given out yet
  #listeners = new Set<() => void>();
  #users = new Map<string, Set<() => void>>();
  #changes = new Set<(change: Change) => void>();

  readonly get = (user: string): Presence | undefined => this.#people.get(user)?.presence;

  readonly getSnapshot = (): ReadonlyMap<string, Presence> => {
    if (this.#old) {
      this.#old = false;
      const users = new Map<string, Presence>();
      for (const [user, p] of this.#people) if (p.presence !== undefined) users.set(user, p.presence);
      this.#snapshot = users;
    }
    return this.#snapshot;
  };

  readonly subscribe = (listener: () => void): (() => void) => enlist(this.#listeners, listener);

  readonly subscribeUser = (user: string, listener: () => void): (() => void) => {
    let listeners = this.#users.get(user);
    if (listeners === undefined) this.#users.set(user, (listeners = new Set()));
    const leave = enlist(listeners, listener);
    return () => {
      leave();
      if (listeners.size === 0 && this.#users.get(user) === listeners) this.#users.delete(user);
    };
  };

  readonly onChange = (listener: (change: Change) => void): (() => void) => enlist(this.#changes, listener);

  /** Begins a round. */
  startOver(): void {
    this.#round++;
  }

  /** The users in the picture. */
  users(): string[] {
    return [...this.#people.keys()];
  }

  /** Takes up news of a user; flush gives out what changed. */
  take(n: Extract<News, { on: boolean }>): void {
    let p = this.#people.get(n.user);
    if (p === undefined) {
      p = { presence: undefined, available: false, lastSeen: undefined, told: 0, sessions: new Map() };
      this.#people.set(n.user, p);
    }
    const steps = this.#touch(n.user);
    p.available = n.on;
    p.stale = n.stale;
    if (n.seen !== undefined) p.lastSeen = n.seen;
    if (n.kind === 'none' || n.kind === 'current') p.told = this.#round;
    if (n.session === undefined) {
      if (!n.on) closeAll(p, steps);
    } else if (n.kind === 'closed') {
      close(p, n.session.id, steps, n.why);
      if (!n.on) closeAll(p, steps);
    } else {
      open(p, n.session, n.kind, this.#round, steps);
    }
  }

  /** Closes what the snapshot of a user, or of everybody, left out. */
  settle(user: string | undefined): void {
    for (const u of user === undefined ? this.users() : [user]) {
      const p = this.#people.get(u);
      // Who was not part of a snapshot since the round began waits for a later one.
      if (p === undefined || p.told !== this.#round) continue;
      for (const [id, s] of p.sessions) if (s.round !== this.#round) close(p, id, this.#touch(u), undefined);
    }
  }

  /** Whether a snapshot told of the user since the round began. */
  told(user: string): boolean {
    return this.#people.get(user)?.told === this.#round;
  }

  /** Takes a user out of the picture. */
  forget(user: string): void {
    const p = this.#people.get(user);
    if (p === undefined) return;
    this.#people.delete(user);
    this.#steps.delete(user);
    if (p.presence !== undefined) this.#tell([{ user, before: p.presence, now: undefined, steps: [] }]);
  }

  /** Gives out what changed since it was called last. */
  flush(): void {
    const touched = this.#steps;
    if (touched.size === 0) return;
    this.#steps = new Map();
    const changes: Change[] = [];
    for (const [user, steps] of touched) {
      const p = this.#people.get(user);
      if (p === undefined) continue;
      const before = p.presence;
      const now = picture(user, p);
      if (same(before, now)) continue;
      p.presence = now;
      changes.push({ user, before, now, steps: merge(steps) });
    }
    this.#tell(changes);
  }

  #touch(user: string): Step[] {
    let steps = this.#steps.get(user);
    if (steps === undefined) this.#steps.set(user, (steps = []));
    return steps;
  }

  #tell(changes: readonly Change[]): void {
    if (changes.length === 0) return;
    this.#old = true;
    for (const change of changes) {
      Object.freeze(change.steps);
      Object.freeze(change);
    }
    // Sets are copied: a listener may come or go while others are called.
    for (const change of changes) for (const listener of [...this.#changes]) call(() => listener(change));
    for (const { user } of changes) for (const listener of [...(this.#users.get(user) ?? [])]) call(listener);
    for (const listener of [...this.#listeners]) call(listener);
  }
}

/** Adds to a set so that the same function may be added twice. */
function enlist<F extends (...args: never[]) => void>(set: Set<F>, listener: F): () => void {
  const own = ((...args: never[]) => listener(...args)) as F;
  set.add(own);
  return () => void set.delete(own);
}

function picture(user: string, p: Person): Presence {
  const sessions = [...p.sessions.values()].map((s) => s.session).sort(oldestFirst);
  return Object.freeze({
    user, available: p.available, ...(p.lastSeen !== undefined && { lastSeen: p.lastSeen }), ...(p.stale !== undefined && { staleSince: p.stale }), sessions: Object.freeze(sessions),
  });
}

function open(p: Person, session: UserSession, kind: 'current' | 'opened' | 'updated' | 'none', round: number, steps: Step[]): void {
  const old = p.sessions.get(session.id)?.session;
  if (old !== undefined && same(old, session)) {
    p.sessions.set(session.id, { session: old, round });
    return;
  }
  p.sessions.set(session.id, { session, round });
  if (old !== undefined) steps.push({ kind: 'updated', session });
  else steps.push({ kind: kind === 'opened' ? 'opened' : 'current', session });
}

function close(p: Person, id: string, steps: Step[], why: CloseReason | undefined): void {
  const old = p.sessions.get(id);
  if (old === undefined) return;
  p.sessions.delete(id);
  steps.push({ kind: 'closed', session: old.session, ...(why !== undefined && { why }) });
}

function closeAll(p: Person, steps: Step[]): void {
  for (const s of [...p.sessions.values()].sort((a, b) => oldestFirst(a.session, b.session))) close(p, s.session.id, steps, undefined);
}

/** At most one step for each session that the listener knows or will know. */
function merge(steps: readonly Step[]): Step[] {
  const merged = new Map<string, Step>();
  for (const next of steps) {
    const id = next.session.id;
    const old = merged.get(id);
    if (old === undefined) merged.set(id, next);
    else if (old.kind === 'current' || old.kind === 'opened') {
      if (next.kind === 'closed') merged.delete(id); // it came and went within one message
      else merged.set(id, { kind: old.kind, session: next.session });
    } else merged.set(id, next.kind === 'closed' ? next : { kind: 'updated', session: next.session });
  }
  return [...merged.values()];
}
