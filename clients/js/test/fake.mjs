// A clock, a page and a server that do nothing by themselves.

import { PresenceSession } from '../dist/porchlight-client.js';

/** Lets everything run that waits for a promise. */
export async function settled() {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

export class FakeClock {
  time = 1_000_000;
  #timers = new Set();

  now = () => this.time;
  random = () => 0.5;
  after = (ms, then) => {
    const timer = { at: this.time + ms, then };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  };

  /** Lets time pass. */
  async pass(ms) {
    const end = this.time + ms;
    for (;;) {
      await settled();
      const [next] = [...this.#timers].filter((t) => t.at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.time = Math.max(this.time, next.at);
      this.#timers.delete(next);
      next.then();
    }
    this.time = end;
  }

  get timers() {
    return this.#timers.size;
  }
}

export class FakePage {
  device = { platform: 'web', locale: 'de-DE' };
  kept = new Map();
  storage = {
    getItem: (key) => this.kept.get(key) ?? null,
    setItem: (key, value) => this.kept.set(key, value),
    removeItem: (key) => this.kept.delete(key),
  };
  #then = { wake: new Set(), offline: new Set(), hide: new Set(), show: new Set() };
  #on = (name) => (then) => {
    this.#then[name].add(then);
    return () => this.#then[name].delete(then);
  };
  onWake = this.#on('wake');
  onOffline = this.#on('offline');
  onHide = this.#on('hide');
  onShow = this.#on('show');

  /** The page that comes after this one in the same tab. */
  reload() {
    const next = new FakePage();
    next.kept = this.kept;
    return next;
  }

  fire(name) {
    for (const then of this.#then[name]) then();
  }

  get listeners() {
    return Object.values(this.#then).reduce((n, set) => n + set.size, 0);
  }
}

/** The far end of the newest connection, and the messages that came there. */
export class FakeServer {
  sockets = [];
  refuse = false; // new connections, or those to a URL of which it is true

  constructor() {
    const server = this;
    this.WebSocket = class {
      readyState = 0;
      sent = [];
      constructor(url, protocols) {
        this.url = url;
        this.protocols = protocols;
        server.sockets.push(this);
        queueMicrotask(() => {
          if (this.readyState !== 0) return;
          const refuse = typeof server.refuse === 'function' ? server.refuse(url) : server.refuse;
          if (refuse === 'silently') return this.onerror?.({}); // as Node 20
          if (refuse) {
            this.onerror?.({});
            return this.drop(1006);
          }
          this.readyState = 1;
          this.onopen?.({});
        });
      }
      send(text) {
        this.sent.push(JSON.parse(text));
      }
      close() {
        this.readyState = 3;
      }
      drop(code) {
        this.readyState = 3;
        this.onclose?.({ code });
      }
    };
  }

  get socket() {
    return this.sockets.at(-1);
  }

  /** The messages that were not read yet. */
  async read() {
    await settled();
    return this.socket.sent.splice(0);
  }

  /** The next message, which must be the only one. */
  async one() {
    const all = await this.read();
    if (all.length !== 1) throw new Error(`${all.length} messages: ${JSON.stringify(all)}`);
    return all[0];
  }

  async say(frame) {
    this.socket.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) });
    await settled();
  }

  /** Answers the hello; it. */
  async welcome(more = {}) {
    const hello = await this.one();
    if (hello.t !== 'hello') throw new Error(`want a hello, got ${JSON.stringify(hello)}`);
    this.q = more.q ?? hello.after ?? 0;
    await this.say({
      t: 'welcome', session: 'public-1', resume: 'resume-1', resumed: hello.resume !== undefined, resync: false, q: this.q,
      time: 1, heartbeat: 11_000, grace: 6000, window: 120_000, limits: { watches: 2000, batch: 3 }, ...more,
    });
    return hello;
  }

  /** Tells news, in one message. */
  news(...n) {
    this.q += n.length;
    return this.say({ t: 'n', q: this.q, n });
  }

  async drop(code = 1006) {
    this.socket.drop(code);
    await settled();
  }
}

/** A user's session as the wire has it. */
export const wire = (id, more = {}) => ({ id, platform: 'web', show: 'online', rev: 1, since: 10, at: 10, ...more });

/** News of a user. */
export const current = (u, s, on = true) => ({ u, k: 'current', on, at: 1, s });
export const opened = (u, s) => ({ u, k: 'opened', on: true, at: 1, s });
export const updated = (u, s) => ({ u, k: 'updated', on: true, at: 1, s });
export const closed = (u, s, on = false) => ({ u, k: 'closed', on, seen: 99, at: 1, s });
export const none = (u, seen) => ({ u, k: 'none', on: false, at: 1, ...(seen && { seen }) });
export const done = (user) => ({ k: 'done', user, users: 1 });
export const doneFriends = (users) => ({ k: 'done', friends: true, users });
export const ended = (u, why = 'UNSUBSCRIBED') => ({ k: 'ended', u, why });

/** A session with a server, a clock and a page of its own. */
export function begin(options = {}, { page = new FakePage() } = {}) {
  const server = new FakeServer();
  const clock = new FakeClock();
  const tokens = [];
  const session = new PresenceSession({
    url: 'wss://presence.example', WebSocket: server.WebSocket, clock, page,
    token: async () => {
      tokens.push(`token-${tokens.length + 1}`);
      return tokens.at(-1);
    },
    ...options,
  });
  const changes = [];
  session.store.onChange((c) => changes.push(`${c.user}: ${c.now ? (c.now.available ? 'available' : 'unavailable') : 'unwatched'} ${c.steps.map((s) => s.kind + ' ' + s.session.id + (s.why ? ' ' + s.why : '')).join(', ')}`.trim()));
  return { server, clock, page, tokens, session, changes, took: () => changes.splice(0) };
}

/** The same, and open. */
export async function open(options, more) {
  const b = begin(options, more);
  const opening = b.session.open();
  b.hello = await b.server.welcome();
  await opening;
  return b;
}
