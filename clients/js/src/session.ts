// A session: the user being online on this device, and told of others.

import { Addresses } from './addresses.ts';
import { pause } from './backoff.ts';
import { type Clock, call, clock } from './clock.ts';
import { PresenceError } from './errors.ts';
import { Link, type SocketClass } from './link.ts';
import { Notifications } from './notification.ts';
import { type SessionOptions, checkUsers } from './options.ts';
import { type Page, here } from './page.ts';
import type { Presence } from './presence.ts';
import { type Remembered, keep, recall } from './remember.ts';
import type { Patch, Status } from './status.ts';
import type { SessionSnapshot } from './snapshot.ts';
import { Picture, type PresenceStore } from './store.ts';
import { Tokens } from './tokens.ts';
import { type Payment, Wants } from './wants.ts';
import type { Attribute, TopicMessage } from './topics.ts';
import { type Answer, type News, type Welcome, asked } from './wire.ts';

/** How long the server's goodbye may take. */
const goodbyeLimit = 5_000;

/** The most users in one call, where the server did not say. */
const batchLimit = 200;

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
export class PresenceSession {
  /** What is known of the watched users. */
  readonly store: PresenceStore;

  readonly #options: SessionOptions;
  readonly #addresses: Addresses;
  readonly #tokens: Tokens;
  readonly #socket: SocketClass;
  readonly #clock: Clock;
  readonly #page: Page;
  readonly #picture = new Picture();
  readonly #wants: Wants;
  readonly #notifications: Notifications | undefined;
  readonly #listeners = new Set<() => void>();
  #snapshot: SessionSnapshot = Object.freeze({ link: 'idle' });

  #link: Link | undefined; // the newest, until it ended
  #attempt = 0; // its number: what comes of an older one is of no interest
  #stopTimer = (): void => {}; // of the pause between two attempts, or of a goodbye
  #waitsFor: 'us' | 'server' | undefined; // who wants the pause
  #stopTelling = (): void => {};
  #telling = false;
  #renewing: Promise<void> | undefined;
  #resume: string | undefined;
  #sequence = 0;
  #batch = batchLimit;
  #failures = 0;
  #swift = false; // one attempt without a pause was made since the link last held
  #upSince = 0;
  #wasUp = false;
  #leaving: 'leave' | 'logout' | undefined;
  #refuseHello: ((error: PresenceError) => void) | undefined;
  #forgetPage: () => void;
  readonly #opened: Promise<void>;
  #resolve!: () => void;
  #reject!: (error: PresenceError) => void;
  readonly #gone: Promise<PresenceError>;
  #ended!: (error: PresenceError) => void;

  /** Nothing is connected before {@link open}. Throws a TypeError for options that cannot work. */
  constructor(options: SessionOptions) {
    this.#options = options;
    this.#addresses = new Addresses(options.url, options.insecure ?? false);
    if (typeof options.token !== 'function') throw new TypeError('token: want a function that returns the access token');
    const socket = options.WebSocket ?? (globalThis as { readonly WebSocket?: SocketClass }).WebSocket;
    if (socket === undefined) throw new TypeError('there is no WebSocket here: give a class as the WebSocket option, or use Node 22 or newer');
    this.#socket = socket;
    checkUsers(options.watch ?? []);
    this.#clock = options.clock ?? clock;
    this.#page = options.page ?? here();
    this.#tokens = new Tokens(options.token, this.#clock);
    this.store = this.#picture;
    const { onNotification } = options;
    if (onNotification !== undefined) this.#notifications = new Notifications((n) => call(() => onNotification(n)));
    this.#opened = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#opened.catch(() => {}); // who never asks is not to be told of it
    this.#gone = new Promise((resolve) => (this.#ended = resolve));

    const kept = this.#recall();
    this.#resume = kept?.resume ?? options.resume;
    const status = kept?.status ?? options.status ?? (this.#resume === undefined ? {} : undefined);
    this.#wants = new Wants(options.watch ?? [], options.friends ?? false, status, (users) => {
      for (const u of users) if (!this.#wants.hears(u)) this.#picture.forget(u);
    });
    if (kept !== undefined) this.#wants.inherit(kept.watched, kept.friends);
    this.#forgetPage = this.#settleIn();
    this.#tell({});
  }

  /**
   * Connects. Resolves when the user is online, rejects when that will never be.
   * A server that cannot be reached is tried until it can, or until
   * {@link close}. May be called again to wait for the same.
   */
  readonly open = (): Promise<void> => {
    if (this.#snapshot.link === 'idle') {
      this.#tell({ link: 'connecting' });
      void this.#connect();
    }
    return this.#opened;
  };

  /** Resolves when the session is over, with why. */
  get over(): Promise<PresenceError> {
    return this.#gone;
  }

  /** What is known of the session: the same object as long as nothing changed. */
  readonly getSnapshot = (): SessionSnapshot => this.#snapshot;

  /** Calls `listener` after each change of the snapshot. Call what it returns to end that. */
  readonly subscribe = (listener: () => void): (() => void) => {
    const own = (): void => listener();
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  };

  /** Says a new status in place of the old one. */
  readonly set = (status: Status): Promise<void> => this.#ask(() => this.#wants.set(status));

  /** Alters the status. */
  readonly patch = (patch: Patch): Promise<void> => this.#ask(() => this.#wants.patch(patch));

  /** Watches users too. Rejects with `WATCH_REJECTED`, and their names, for those whom the server refuses. */
  readonly watch = (...users: string[]): Promise<void> => this.#ask(() => {
    checkUsers(users);
    return this.#wants.watch(users);
  });

  /** Watches users no longer. They leave the store at once, save those who are watched as friends: those come anew. */
  readonly unwatch = (...users: string[]): void => {
    for (const u of this.#wants.unwatch(users)) this.#picture.forget(u);
    this.#pay();
  };

  /** Watches the user's friends too. */
  readonly watchFriends = (): Promise<void> => this.#ask(() => this.#wants.watchFriends());

  /** Watches the friends no longer. Who is not watched by name leaves the store at once. */
  readonly unwatchFriends = (): void => {
    this.#wants.unwatchFriends();
    for (const u of this.#picture.users()) if (!this.#wants.hears(u)) this.#picture.forget(u);
    this.#tell({});
    this.#pay();
  };

  /**
   * Asks once, without watching. With `sessions`, theirs are told too. Who is
   * `unknown` the server cannot tell of now. Rejects at once while the link is
   * down.
   */
  readonly get = async (users: readonly string[], o: { readonly sessions?: boolean; readonly locale?: string } = {}): Promise<Map<string, Presence & { readonly unknown: boolean }>> => {
    checkUsers(users);
    const out = new Map<string, Presence & { readonly unknown: boolean }>();
    for (let i = 0; i < users.length; i += this.#batch) {
      const answer = await this.#call({ t: 'get', users: users.slice(i, i + this.#batch), ...o });
      for (const raw of answer.users) {
        const presence = asked(raw);
        out.set(presence.user, presence);
      }
    }
    return out;
  };

  /** The attributes of a user, this one's own without a name. Rejects at once while the link is down. */
  readonly attributes = async (user?: string): Promise<readonly Attribute[]> => {
    if (user !== undefined) checkUsers([user]);
    return (await this.#call({ t: 'attributes', ...(user !== undefined && { user }) })).attributes;
  };

  /**
   * Sets attributes of this user, and takes away those named in `remove`: all of
   * them or, when it rejects, none. Resolves with how many changed, when they are
   * stored and told. Rejects at once while the link is down.
   */
  readonly setAttributes = async (values: Readonly<Record<string, unknown>>, remove: readonly string[] = []): Promise<number> => {
    const set = Object.entries(values).map(([name, value]) => ({ name, value: value ?? null }));
    if (set.length + remove.length === 0) return 0;
    return (await this.#call({ t: 'attributes', set, remove })).changed;
  };

  /** Asks the server, with a fresh access token if the old one has expired. */
  async #call(request: { readonly t: string; readonly [key: string]: unknown }): Promise<Answer> {
    const link = this.#link;
    if (link === undefined) throw this.#snapshot.error ?? new PresenceError({ reason: 'LINK_DOWN', message: 'there is no link to the server now' });
    return link.request(request).catch(async (err: PresenceError) => {
      if (err.reason !== 'JWT_EXPIRED') throw err;
      await this.renewToken();
      return link.request(request);
    });
  }

  /**
   * Fetches a new access token and gives it to the server, without a new
   * connection. The session does so by itself when a call is refused because the
   * token has expired.
   */
  readonly renewToken = (): Promise<void> => (this.#renewing ??= this.#renew().finally(() => (this.#renewing = undefined)));

  async #renew(): Promise<void> {
    this.#tokens.refuse();
    const token = await this.#tokens.get();
    if (this.#link?.up) await this.#link.request({ t: 'token', token });
  }

  /**
   * Says goodbye for this device: the user goes offline here at once, and stays
   * logged in. The session is over when it resolves. It rejects when the server
   * could not be reached: then it finds out by itself within its grace period.
   */
  readonly leave = (): Promise<void> => this.#goodbye('leave');

  /** {@link leave} for a user who logs out. */
  readonly logout = (): Promise<void> => this.#goodbye('logout');

  /**
   * Lets go of the session without a word, as if the link were lost: the user
   * stays online for the server's grace period. With `remember`, the next session
   * in this tab goes on with it.
   */
  readonly close = (): void => {
    this.#keep();
    this.#end(closed());
  };

  async #goodbye(mode: 'leave' | 'logout'): Promise<void> {
    const { link } = this.#snapshot;
    if (link === 'over') return;
    const nowhere = this.#link === undefined;
    // A session that never was needs no goodbye.
    if (link === 'idle' || (nowhere && this.#resume === undefined)) return this.#end(closed());
    this.#leaving ??= mode;
    this.#stopTimer();
    const late = this.#clock.after(goodbyeLimit, () => this.#end(new PresenceError({ reason: 'LINK_DOWN', message: 'the server could not be told goodbye; it finds out within its grace period' })));
    if (this.#link?.up) this.#link.bye(this.#leaving);
    else if (nowhere) void this.#connect();
    const why = await this.#gone;
    late();
    if (why.reason !== 'CLOSED') throw why;
  }

  #ask(wish: () => Promise<void>): Promise<void> {
    if (this.#snapshot.link === 'over') return Promise.reject(this.#snapshot.error);
    let asked: Promise<void>;
    try {
      asked = wish();
    } catch (err) {
      return Promise.reject(err);
    }
    this.#tell({});
    this.#pay();
    return asked;
  }

  async #connect(): Promise<void> {
    const attempt = ++this.#attempt;
    this.#stopTimer();
    this.#waitsFor = undefined;
    let token: string;
    try {
      token = await this.#tokens.get();
    } catch (err) {
      if (attempt === this.#attempt) this.#lost(err as PresenceError);
      return;
    }
    if (attempt !== this.#attempt || this.#snapshot.link === 'over') return;
    const hello = this.#wants.hello(!this.#wasUp);
    this.#refuseHello = hello.refused;
    this.#link = new Link({
      socket: this.#socket, url: this.#addresses.now, clock: this.#clock,
      hello: {
        t: 'hello', token, device: { ...this.#page.device, ...this.#options.device }, ...hello.frame,
        ...(this.#notifications !== undefined && { notifications: true }),
        ...(this.#options.onTopic !== undefined && { topics: true }),
        ...(this.#resume !== undefined && { resume: this.#resume }),
        ...(this.#resume !== undefined && this.#sequence > 0 && { after: this.#sequence }),
      },
      owner: {
        welcomed: (welcome) => this.#welcomed(welcome, hello.taken),
        partFailed: (part, error) => {
          hello.partFailed(part, error, this.#clock.now() + pause(this.#options.backoff ?? {}, 1, error.retryAfter, this.#clock.random));
          this.#tell({});
          this.#pay();
        },
        notified: (list) => this.#notifications?.take(list),
        topics: (list) => this.#topics(list),
        news: (news, q) => this.#news(news, q),
        ended: (error) => attempt === this.#attempt && this.#lost(error),
      },
    });
  }

  #welcomed(w: Welcome, taken: (rejected: readonly string[]) => void): void {
    const startOver = !w.resumed || w.resync;
    if (!w.resumed) this.#wants.forgotten();
    if (startOver) this.#picture.startOver();
    this.#wants.parted.clear(); // what was on its way is lost
    this.#resume = w.resume;
    this.#sequence = w.q;
    if (w.batch > 0) this.#batch = w.batch;
    this.#addresses.held();
    this.#upSince = this.#clock.now();
    if (this.#wasUp && this.#options.onTopic !== undefined) this.#topics(undefined); // what was told meanwhile is lost
    this.#wasUp = true;
    taken(w.rejected);
    const { link, id, downSince, retryAt, error, ...rest } = this.#snapshot;
    this.#replace({ ...rest, link: 'up', id: w.session });
    this.#tell({});
    this.#resolve();
    if (this.#leaving !== undefined) this.#link?.bye(this.#leaving);
    else this.#pay();
  }

  #topics(list: readonly TopicMessage[] | undefined): void {
    const { onTopic, onTopicsMissed } = this.#options;
    if (list === undefined) call(() => onTopicsMissed?.());
    else for (const m of list) call(() => onTopic?.(m));
  }

  #news(news: readonly News[], q: number): void {
    this.#sequence = q;
    for (const n of news) {
      switch (n.kind) {
        case 'done':
          if (n.friends) this.#forgetOthers();
          this.#picture.settle(n.friends ? undefined : n.user);
          break;
        case 'ended':
          this.#wants.parted.delete(n.user);
          // He may be watched again by name, or for the other reason.
          if (!this.#wants.watched.has(n.user) && (n.unfriended || !this.#wants.friends)) this.#picture.forget(n.user);
          break;
        default:
          // News of somebody just unwatched may still be on their way.
          if (this.#wants.hears(n.user)) this.#picture.take(n);
      }
    }
    this.#picture.flush();
  }

  /** All friends were told of: who was one, and was not told of, is none any more. */
  #forgetOthers(): void {
    for (const u of this.#picture.users()) if (!this.#wants.watched.has(u) && !this.#picture.told(u)) this.#picture.forget(u);
  }

  /** The link ended, or could not be made. */
  #lost(error: PresenceError): void {
    this.#link = undefined;
    this.#stopTelling();
    if (this.#snapshot.link === 'over') return;
    if (this.#leaving !== undefined && (this.#snapshot.link === 'up' || error.lost)) {
      return this.#end(error.reason === 'SESSION_CLOSED' || error.lost ? closed() : error);
    }
    const { healthy = 30_000, first = 1_000 } = this.#options.backoff ?? {};
    // An ordered goodbye is no failure: where nodes are restarted one after the other, the pauses would else
    // grow until others see the session go.
    const enough = error.reason === 'DRAINING' ? Math.min(first, healthy) : healthy;
    if (this.#snapshot.link === 'up' && this.#clock.now() - this.#upSince >= enough) {
      this.#failures = 0;
      this.#swift = false;
    }
    const wait = this.#addresses.failed(error.reason, this.#snapshot.link === 'up') ? 0 : this.#judge(error);
    if (wait === undefined) return this.#end(error);
    const downSince = this.#snapshot.link === 'up' ? this.#clock.now() : this.#snapshot.downSince;
    this.#tell({
      link: this.#wasUp ? 'down' : 'connecting', error, retryAt: this.#clock.now() + wait, ...(downSince !== undefined && { downSince }),
    });
    this.#waitsFor = error.retryAfter > 0 ? 'server' : 'us';
    this.#stopTimer = this.#clock.after(wait, () => void this.#connect());
  }

  /**
   * How long to wait before trying again; undefined when that is of no use. An
   * attempt without a pause is made once for each time the link held: a server
   * that refuses at once must not make us run in circles.
   */
  #judge(error: PresenceError): number | undefined {
    let swift = true;
    if (error.lost) {
      this.#resume = undefined;
      this.#sequence = 0;
    } else if (error.reason === 'RESUME_FROM_FUTURE') {
      this.#sequence = 0;
    } else if (error.reason === 'JWT_EXPIRED' || error.reason === 'TOKEN_EXPIRED') {
      this.#tokens.refuse();
    } else if (error.reason === 'FIELD_INVALID' && this.#refuseHello !== undefined) {
      this.#refuseHello(error); // asked for while nobody could say so; the status before stays
    } else if (!error.temporary) {
      return undefined;
    } else {
      swift = false;
    }
    if (swift && !this.#swift && error.retryAfter === 0) {
      this.#swift = true;
      return 0;
    }
    return pause(this.#options.backoff ?? {}, ++this.#failures, error.retryAfter, this.#clock.random);
  }

  /** Tells the server what it may not know, one message after the other, until nothing is owed. */
  #pay(): void {
    const link = this.#link;
    if (link === undefined || !link.up || this.#telling) return;
    this.#stopTelling();
    const next = this.#wants.next(this.#clock.now(), this.#batch);
    if (next === undefined) return;
    if (typeof next === 'number') {
      this.#stopTelling = this.#clock.after(next, () => this.#pay());
      return;
    }
    this.#telling = true;
    void link.request(next.frame).then(
      (answer) => {
        next.debt.failures = next.debt.notBefore = 0;
        next.taken(answer.rejected);
        this.#tell({}); // before whoever waited goes on
      },
      (error: PresenceError) => this.#unpaid(link, next, error),
    ).finally(() => {
      this.#telling = false;
      this.#tell({});
      this.#pay();
    });
  }

  /** A message that was not taken: it stays owed, or never will be taken. */
  async #unpaid(link: Link, payment: Payment, error: PresenceError): Promise<void> {
    if (!link.up) return;
    if (!error.temporary) {
      payment.refused(error);
      return this.#tell({}); // before whoever waited goes on
    }
    const failures = ++payment.debt.failures;
    if (error.reason === 'JWT_EXPIRED') {
      const renewed = await this.renewToken().then(() => true, () => false);
      if (renewed && failures === 1) return;
    } else {
      payment.failed?.(error);
    }
    payment.debt.notBefore = this.#clock.now() + pause(this.#options.backoff ?? {}, failures, error.retryAfter, this.#clock.random);
  }

  #end(error: PresenceError): void {
    if (this.#snapshot.link === 'over') return;
    const { link, retryAt, ...rest } = this.#snapshot;
    this.#attempt++;
    this.#stopTimer();
    this.#stopTelling();
    this.#forgetPage();
    this.#replace({ ...rest, link: 'over', error });
    this.#link?.end(error);
    this.#link = undefined;
    this.#wants.over(error);
    this.#reject(error);
    this.#ended(error);
  }

  /** Puts new values into the snapshot. */
  #tell(news: Partial<SessionSnapshot>): void {
    const { status, friendsError, watchError, ...rest } = this.#snapshot;
    const now = this.#wants;
    if (Object.keys(news).length === 0 && now.status === status && now.friendsError === friendsError && now.watchError === watchError) return;
    if (rest.link === 'over') return;
    this.#replace({
      ...rest, ...(now.status !== undefined && { status: now.status }), ...(now.friendsError !== undefined && { friendsError: now.friendsError }),
      ...(now.watchError !== undefined && { watchError: now.watchError }), ...news,
    });
  }

  #replace(snapshot: SessionSnapshot): void {
    this.#snapshot = Object.freeze(snapshot);
    for (const listener of [...this.#listeners]) call(listener);
  }

  /** Listens to what the page knows; the function it returns ends that. */
  #settleIn(): () => void {
    const page = this.#page;
    const leave = [
      page.onWake(() => {
        if (this.#link !== undefined) this.#link.doubt();
        else if (this.#waitsFor === 'us') void this.#connect();
      }),
      page.onOffline(() => this.#link?.doubt()),
      page.onHide(() => this.#keep()),
      // The page was kept, and so was what it knows.
      page.onShow(() => {
        this.#recall();
        this.#link?.doubt();
      }),
    ];
    return () => leave.forEach((f) => f());
  }

  #keep(): void {
    const { remember } = this.#options;
    const { link, status } = this.#snapshot;
    if (remember === undefined || this.#resume === undefined || link === 'over' || this.#leaving !== undefined) return;
    keep(this.#page.storage, remember, {
      resume: this.#resume, watched: [...this.#wants.watched], friends: this.#wants.friends, ...(status !== undefined && { status }),
    });
  }

  #recall(): Remembered | undefined {
    const { remember } = this.#options;
    return remember === undefined ? undefined : recall(this.#page.storage, remember);
  }
}

function closed(): PresenceError {
  return new PresenceError({ reason: 'CLOSED', message: 'the session was left or closed' });
}
