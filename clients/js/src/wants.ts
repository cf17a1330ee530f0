// What this end wants of the server, how much of it the server may not know
// yet, and who waits for it to know. It has no link and no clock.

import { PresenceError } from './errors.ts';
import { type Patch, type Status, freeze, merged, patchFrame, patched } from './status.ts';

/** Something that the server is to be told, again until it was. @internal */
export interface Debt {
  failures: number;
  /** Not before this time. */
  notBefore: number;
}

/** One message that pays a part of what is owed. @internal */
export interface Payment {
  readonly debt: Debt;
  readonly frame: Readonly<Record<string, unknown>>;
  /** The server took it, but for some. */
  taken(rejected: readonly string[]): void;
  /** The server will never take it. */
  refused(error: PresenceError): void;
  /** It did not take it now. */
  failed?(error: PresenceError): void;
}

interface Waiter {
  resolve(): void;
  reject(error: PresenceError): void;
}

interface WatchWaiter extends Waiter {
  readonly users: Set<string>; // of whom the server was not told yet
  readonly rejected: string[];
}

const debt = (): Debt => ({ failures: 0, notBefore: 0 });

/** What a hello says of what is wanted. @internal */
export interface Hello {
  readonly frame: Readonly<Record<string, unknown>>;
  /** The server took it, but for some users. */
  taken(rejected: readonly string[]): void;
  /** It will never take it, because of a status that it never took before. */
  readonly refused: ((error: PresenceError) => void) | undefined;
  /** It took it without that part, which is told again from `notBefore` on. */
  partFailed(part: string, error: PresenceError, notBefore: number): void;
}

/** @internal */
export class Wants {
  /** Watched by name. */
  readonly watched: Set<string>;
  /** Those of them whom the server may not know. */
  readonly #untold: Set<string>;
  /** Users whom the server may still watch though nobody wants it. */
  readonly #unwatched = new Set<string>();
  /** Users whose news are none of a friend: they were unwatched by name, and the server's word that nothing follows is on its way. */
  readonly parted = new Set<string>();
  friends: boolean;
  #friendsUntold: boolean;
  #friendsLeft = false; // the server may still watch them
  /** Why the friends are not watched though they are wanted. */
  friendsError: PresenceError | undefined;
  /** The newest refusal of users whom nobody waits for. */
  watchError: PresenceError | undefined;

  /** The status that the server has; undefined when it is not known. */
  #status: Status | undefined;
  #wish: { readonly status: Status } | { readonly patch: Patch } | undefined;
  #version = 0; // grows with each wish

  readonly #debts = { unfriend: debt(), unwatch: debt(), watch: debt(), status: debt(), friends: debt() };
  readonly #waiting = { status: [] as Waiter[], friends: [] as Waiter[], watch: [] as WatchWaiter[] };
  readonly #dropped: (users: readonly string[]) => void;

  /** `dropped` is called with users whom the server refused to watch. */
  constructor(watch: readonly string[], friends: boolean, status: Status | undefined, dropped: (users: readonly string[]) => void) {
    this.watched = new Set(watch);
    this.#untold = new Set(watch);
    this.friends = friends;
    this.#friendsUntold = friends;
    if (status !== undefined) this.#wish = { status: freeze(status) };
    this.#dropped = dropped;
  }

  /** Whether news of a user are wanted. */
  hears(user: string): boolean {
    return this.watched.has(user) || (this.friends && !this.parted.has(user));
  }

  /** The status that the program wants by now, if it is known. */
  get status(): Status | undefined {
    return this.#wish !== undefined && 'status' in this.#wish ? this.#wish.status : this.#status;
  }

  watch(users: readonly string[]): Promise<void> {
    const fresh = users.filter((u) => !this.watched.has(u));
    for (const u of fresh) {
      this.watched.add(u);
      this.#untold.add(u);
    }
    const untold = new Set(users.filter((u) => this.#untold.has(u)));
    if (untold.size === 0) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.watch.push({ users: untold, rejected: [], resolve, reject }));
  }

  /** Returns the users who were watched until now. */
  unwatch(users: readonly string[]): string[] {
    const were = users.filter((u) => this.watched.delete(u));
    for (const u of were) {
      this.#untold.delete(u);
      this.#unwatched.add(u);
      if (this.friends) this.parted.add(u);
    }
    this.#settleWatches(were, () => {});
    return were;
  }

  watchFriends(): Promise<void> {
    if (!this.friends) this.friends = this.#friendsUntold = true;
    if (!this.#friendsUntold) return Promise.resolve();
    this.#debts.friends.notBefore = 0;
    return new Promise((resolve, reject) => this.#waiting.friends.push({ resolve, reject }));
  }

  unwatchFriends(): void {
    if (!this.friends) return;
    this.friends = this.#friendsUntold = false;
    this.#friendsLeft = true;
    this.friendsError = undefined;
    this.#debts.friends = debt();
    release(this.#waiting.friends);
  }

  set(status: Status): Promise<void> {
    return this.#wishFor({ status: freeze(status) });
  }

  patch(patch: Patch): Promise<void> {
    const base = this.status;
    if (base !== undefined) return this.#wishFor({ status: patched(base, patch) });
    const before = this.#wish !== undefined && 'patch' in this.#wish ? this.#wish.patch : {};
    return this.#wishFor({ patch: freeze(merged(before, patch)) });
  }

  #wishFor(wish: { readonly status: Status } | { readonly patch: Patch }): Promise<void> {
    this.#wish = wish;
    this.#version++;
    return new Promise((resolve, reject) => this.#waiting.status.push({ resolve, reject }));
  }

  /**
   * What a hello says of all this. Users whom the server may still watch from
   * before wait: it would not tell of them again.
   */
  hello(first: boolean): Hello {
    const watch = [...this.watched].filter((u) => !this.#unwatched.has(u) && (first || !this.#untold.has(u)));
    const friends = this.friends && !this.#friendsLeft && (first || !this.#friendsUntold);
    const { status } = this;
    const wish = this.#wish === undefined ? undefined : this.#payStatus();
    return {
      frame: { ...(watch.length > 0 && { watch }), ...(friends && { friends }), ...(status !== undefined && { status }) },
      taken: (rejected) => {
        this.#told(watch, rejected);
        if (friends) this.#befriended();
        if (status !== undefined) wish?.taken([]);
      },
      refused: wish !== undefined && this.#status !== undefined ? wish.refused : undefined,
      partFailed: (part, error, notBefore) => {
        if (part === 'watch') {
          for (const u of watch) if (this.watched.has(u)) this.#untold.add(u);
          if (error.temporary) this.#debts.watch.notBefore = notBefore; // else whom it refuses is found part by part
        } else if (part === 'friends' && this.friends) {
          if (!error.temporary) return this.#payFriends().refused(error);
          this.#friendsUntold = true;
          this.friendsError = error;
          this.#debts.friends.notBefore = notBefore;
        }
      },
    };
  }

  /** The server has nothing of before: all is untold that no hello said, and nothing is left to take away. */
  forgotten(): void {
    this.#unwatched.clear();
    this.parted.clear();
    this.#friendsLeft = false;
  }

  /** The server may watch these from before, and whoever of them is wanted will be asked for anew. */
  inherit(users: readonly string[], friends: boolean): void {
    for (const u of users) if (!this.watched.has(u)) this.#unwatched.add(u);
    if (friends && !this.friends) this.#friendsLeft = true;
  }

  /** The next thing to tell; a number is how long to wait for it; undefined: nothing is owed. */
  next(now: number, batch: number): Payment | number | undefined {
    const owed = [
      this.#friendsLeft && this.#debts.unfriend, this.#unwatched.size > 0 && this.#debts.unwatch, this.#untold.size > 0 && this.#debts.watch,
      this.#wish !== undefined && this.#debts.status, this.#friendsUntold && !this.#friendsLeft && this.#debts.friends,
    ].filter((d) => d !== false);
    if (owed.length === 0) return undefined;
    const due = owed.find((d) => d.notBefore <= now);
    if (due === undefined) return Math.min(...owed.map((d) => d.notBefore)) - now;
    switch (due) {
      case this.#debts.unfriend: return this.#payUnfriend();
      case this.#debts.unwatch: return this.#payUnwatch(batch);
      case this.#debts.watch: return this.#payWatch(batch);
      case this.#debts.status: return this.#payStatus();
      default: return this.#payFriends();
    }
  }

  /** Everybody who waits is told so. */
  over(error: PresenceError): void {
    for (const list of [this.#waiting.status, this.#waiting.friends, this.#waiting.watch]) {
      for (const waiter of list.splice(0)) waiter.reject(error);
    }
  }

  #payUnfriend(): Payment {
    const done = (): void => void (this.#friendsLeft = false);
    return { debt: this.#debts.unfriend, frame: { t: 'unwatch', friends: true }, taken: done, refused: done };
  }

  #payUnwatch(batch: number): Payment {
    const users = [...this.#unwatched].slice(0, batch);
    const done = (): void => users.forEach((u) => this.#unwatched.delete(u));
    return { debt: this.#debts.unwatch, frame: { t: 'unwatch', users }, taken: done, refused: done };
  }

  /** One caller's users at a time: what is wrong with them is not the others' affair. */
  #payWatch(batch: number): Payment {
    const waiter = this.#waiting.watch[0];
    const users = [...(waiter?.users ?? this.#untold)].slice(0, batch);
    return {
      debt: this.#debts.watch, frame: { t: 'watch', users },
      taken: (rejected) => this.#told(users, rejected),
      refused: (error) => {
        const all = [...(waiter?.users ?? users)];
        if (waiter === undefined) this.watchError = watchRejected(all, error);
        this.#dropped(all.filter((u) => this.#untold.delete(u) && this.watched.delete(u)));
        this.#settleWatches(all, (w) => w.reject(error));
      },
    };
  }

  #told(users: readonly string[], rejected: readonly string[]): void {
    // Who was unwatched meanwhile is no longer untold; that is owed by itself.
    const mine = users.filter((u) => this.#untold.delete(u));
    const refused = mine.filter((u) => rejected.includes(u) && this.watched.delete(u));
    if (refused.length > 0) {
      this.#dropped(refused);
      const unasked = refused.filter((u) => !this.#waiting.watch.some((w) => w.users.has(u)));
      if (unasked.length > 0) this.watchError = watchRejected(unasked);
    }
    for (const w of this.#waiting.watch) w.rejected.push(...refused.filter((u) => w.users.has(u)));
    this.#settleWatches(users, () => {});
  }

  /** Takes users off those who are waited for, and answers who waits for nobody any more. */
  #settleWatches(users: readonly string[], refuse: (waiter: Waiter) => void): void {
    for (const w of [...this.#waiting.watch]) {
      const concerned = users.filter((u) => w.users.delete(u)).length > 0;
      if (concerned) refuse(w);
      if (w.users.size > 0) continue;
      this.#waiting.watch.splice(this.#waiting.watch.indexOf(w), 1);
      if (w.rejected.length > 0) w.reject(watchRejected(w.rejected));
      else w.resolve();
    }
  }

  #payStatus(): Payment {
    const wish = this.#wish ?? { patch: {} };
    const version = this.#version;
    const waiters = [...this.#waiting.status];
    const done = (): void => {
      if (this.#version === version) this.#wish = undefined;
      this.#waiting.status.splice(0, waiters.length);
    };
    return {
      debt: this.#debts.status,
      frame: 'status' in wish ? { t: 'set', status: wish.status } : patchFrame(wish.patch),
      taken: () => {
        if ('status' in wish) this.#status = wish.status;
        done();
        release(waiters);
      },
      refused: (error) => {
        done();
        for (const w of waiters) w.reject(error);
      },
    };
  }

  #payFriends(): Payment {
    return {
      debt: this.#debts.friends, frame: { t: 'watch', friends: true },
      taken: () => this.#befriended(),
      refused: (error) => {
        this.friends = this.#friendsUntold = false;
        this.friendsError = error;
        for (const w of this.#waiting.friends.splice(0)) w.reject(error);
      },
      failed: (error) => void (this.friendsError = error),
    };
  }

  #befriended(): void {
    if (!this.friends) return;
    this.#friendsUntold = false;
    this.friendsError = undefined;
    release(this.#waiting.friends);
  }
}

function release(waiters: Waiter[]): void {
  for (const w of waiters.splice(0)) w.resolve();
}

function watchRejected(users: readonly string[], why?: PresenceError): PresenceError {
  return new PresenceError({
    reason: why?.reason ?? 'WATCH_REJECTED', message: why?.message ?? `the server refused to watch ${users.length} of the users`, cause: why,
    fields: [...users].sort().map((path) => ({ path, message: 'not watched' })),
  });
}
