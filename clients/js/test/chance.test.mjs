// Whatever the server says, and whatever happens to the link. The seeds are
// fixed; SEED=n runs another one.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { closed, current, done, none, open, opened, settled, updated, wire } from './fake.mjs';

/** A source of chance that gives the same each time. */
function chance(seed) {
  const next = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n) => Math.floor(next() * n);
  return { next, below, of: (list) => list[below(list.length)] };
}

const seeds = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: 40 }, (_, i) => i + 1);

const words = ['t', 'n', 'q', 'u', 'k', 's', 'on', 'id', 'users', 'rejected', 'limits', 'batch', 'resume', 'welcome', 'ok', 'error', 'bye', 'current', 'opened', 'closed', 'none', 'done', 'ended', 'friends',
  'user', 'seen', 'properties', 'show', 'reason', 'fields', 'path', 'message', 'part', 'watch', 'retry_after', 'bob', '__proto__', 'constructor', 'FIELD_INVALID', 'why'];

function anything(c, depth = 0) {
  switch (c.below(depth > 4 ? 5 : 8)) {
    case 0: return null;
    case 1: return c.next() < 0.5;
    case 2: return c.of([0, 1, 2, -1, 1.5, 2 ** 53, 1e308, -0]);
    case 3: case 4: return c.of(words);
    case 5: return Array.from({ length: c.below(4) }, () => anything(c, depth + 1));
    default: return Object.fromEntries(Array.from({ length: c.below(6) }, () => [c.of(words), anything(c, depth + 1)]));
  }
}

/** A frame that is nearly one. */
function nearly(c) {
  const good = c.of([
    { t: 'n', q: 1, n: [current('bob', wire('b1', { properties: { a: 1 } }))] }, { t: 'ok', id: 1, users: [{ u: 'a', on: true, sessions: [wire('x')] }] },
    { t: 'error', id: 1, reason: 'X', fields: [{ path: 'p', message: 'm' }] }, { t: 'bye', reason: 'DRAINING', retry_after: 5 },
    { t: 'welcome', session: 's', resume: 'r', q: 1, limits: { batch: 1 } }, { t: 'pong' },
  ]);
  const frame = structuredClone(good);
  let at = frame;
  for (;;) {
    const keys = Object.keys(at);
    if (keys.length === 0) return frame;
    const key = c.of(keys);
    if (typeof at[key] === 'object' && at[key] !== null && c.next() < 0.6) at = at[key];
    else {
      at[key] = anything(c);
      return frame;
    }
  }
}

for (const seed of seeds) {
  test(`nothing that a server says breaks a session (seed ${seed})`, async () => {
    const c = chance(seed);
    const { server, clock, session } = await open({ watch: ['bob'], friends: true, backoff: { first: 10, max: 10 } });
    session.get(['a']).catch(() => {});
    session.over.then(() => {});
    for (let i = 0; i < 150 && session.getSnapshot().link !== 'over'; i++) {
      const frame = c.next() < 0.4 ? anything(c) : nearly(c);
      const text = c.next() < 0.05 ? JSON.stringify(frame).slice(0, c.below(20)) : JSON.stringify(frame);
      await server.say(text); // throws what is thrown in there
      for (const [user, p] of session.store.getSnapshot()) {
        assert.equal(p.user, user);
        assert.equal(typeof p.available, 'boolean');
        for (const s of p.sessions) assert.equal(typeof s.id + typeof s.connectedAt, 'stringnumber');
      }
      if (session.getSnapshot().link === 'down') {
        await clock.pass(10);
        await settled();
        if (session.getSnapshot().link === 'down' && server.socket.readyState === 1) {
          await server.read();
          server.q = 0;
          await server.say({ t: 'welcome', session: 's', resume: 'r', resumed: true, q: 0, heartbeat: 11_000, limits: { batch: 3 } });
        }
      }
    }
    assert.equal({}.polluted, undefined);
    session.close();
  });
}

/** Users with sessions, as the server knows them. */
class World {
  users = new Map(['bob', 'carol', 'dave'].map((u) => [u, new Map()]));
  seen = new Map();
  time = 100;
  count = 0;

  constructor(c) {
    this.c = c;
  }

  /** Something happens to somebody; news of it. */
  happen() {
    const { c } = this;
    const user = c.of([...this.users.keys()]);
    const sessions = this.users.get(user);
    const what = c.below(sessions.size === 0 ? 1 : 3);
    this.time++;
    if (what === 0 && sessions.size < 3) {
      const s = wire(`${user}-${++this.count}`, { since: this.time, at: this.time });
      sessions.set(s.id, s);
      return opened(user, s);
    }
    const id = c.of([...sessions.keys()]);
    if (what === 1) {
      const s = { ...sessions.get(id), show: c.of(['online', 'away', 'busy']), text: c.of(['x', 'y', '']), at: this.time, rev: this.time };
      sessions.set(id, s);
      return updated(user, s);
    }
    const s = sessions.get(id);
    sessions.delete(id);
    this.seen.set(user, this.time);
    return { ...closed(user, { ...s, why: 'CLIENT' }, sessions.size > 0), seen: this.time };
  }

  /** All that a new watcher is told. */
  snapshot() {
    const news = [];
    for (const [user, sessions] of this.users) {
      for (const s of sessions.values()) news.push({ ...current(user, s), ...(this.seen.has(user) && { seen: this.seen.get(user) }) });
      if (sessions.size === 0) news.push(none(user, this.seen.get(user)));
      if (this.c.next() < 0.5) news.push(done(user));
    }
    return [...news, { k: 'done', all: true, users: this.users.size }];
  }

  /** What the store should hold. */
  view() {
    return Object.fromEntries([...this.users].map(([user, sessions]) => [user, {
      available: sessions.size > 0, seen: this.seen.get(user),
      sessions: [...sessions.values()].map((s) => `${s.id} ${s.show} ${s.text ?? ''}`),
    }]));
  }
}

const viewOf = (store) => Object.fromEntries([...store.getSnapshot()].map(([user, p]) => [user, {
  available: p.available, seen: p.lastSeen, sessions: p.sessions.map((s) => `${s.id} ${s.show} ${s.text ?? ''}`),
}]).sort());

for (const seed of seeds) {
  test(`the store is what the server knows, whatever happens to the link (seed ${seed})`, async () => {
    const c = chance(seed);
    const world = new World(c);
    const { server, clock, session } = await open({ watch: [...world.users.keys()], backoff: { first: 10, max: 10 } });
    const heard = new Map(); // sessions as the steps tell them
    session.store.onChange(({ user, before, now, steps }) => {
      assert.notDeepEqual(before, now, 'a change changes something');
      for (const { kind, session: s } of steps) {
        const had = heard.has(s.id);
        assert.equal(had, kind === 'updated' || kind === 'closed', `${kind} ${s.id}`);
        if (kind === 'closed') heard.delete(s.id);
        else heard.set(s.id, { user, s });
      }
    });
    await server.news(...world.snapshot());
    for (let round = 0; round < 60; round++) {
      if (c.next() < 0.7) {
        await server.news(...Array.from({ length: 1 + c.below(4) }, () => world.happen()));
      } else {
        await server.drop(c.of([1006, 1001, 4413]));
        const missed = Array.from({ length: c.below(5) }, () => world.happen());
        await clock.pass(10);
        const how = c.below(3);
        if (how === 0) {
          await server.welcome();
          if (missed.length > 0) await server.news(...missed);
        } else if (how === 1) {
          await server.welcome({ resync: true });
          await server.news(...world.snapshot());
        } else {
          await server.read();
          await server.say({ t: 'bye', reason: 'SESSION_GONE', kept: false });
          await clock.pass(10);
          await server.welcome({ session: `public-${round}`, resume: `resume-${round}` });
          await server.news(...world.snapshot());
        }
      }
      assert.deepEqual(viewOf(session.store), world.view());
      const told = [...heard.values()].map(({ user, s }) => `${user} ${s.id} ${s.show} ${s.text ?? ''}`).sort();
      const known = [...session.store.getSnapshot().values()].flatMap((p) => p.sessions.map((s) => `${p.user} ${s.id} ${s.show} ${s.text ?? ''}`)).sort();
      assert.deepEqual(told, known, 'the steps lead where the store is');
    }
    session.close();
  });
}
