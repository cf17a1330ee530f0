// What the store tells of what the server says.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { closed, current, done, doneFriends, ended, none, open, opened, updated, wire } from './fake.mjs';

test('a snapshot, then changes', async () => {
  const { server, session, took } = await open({ watch: ['bob', 'carol'] });
  await server.news(current('bob', wire('b1')), done('bob'), none('carol', 77), done('carol'));
  assert.deepEqual(took(), ['bob: available current b1', 'carol: unavailable']);
  assert.deepEqual(session.store.get('carol'), { user: 'carol', available: false, lastSeen: 77, sessions: [] });
  await server.news(updated('bob', wire('b1', { show: 'busy', text: 'in a call', properties: { seat: 4 }, rev: 2, at: 20 })));
  assert.deepEqual(took(), ['bob: available updated b1']);
  assert.deepEqual(session.store.get('bob'), {
    user: 'bob', available: true,
    sessions: [{ id: 'b1', platform: 'web', show: 'busy', text: 'in a call', properties: { seat: 4 }, connectedAt: 10, updatedAt: 20 }],
  });
  await server.news(opened('bob', wire('b2', { since: 5 })));
  assert.deepEqual(session.store.get('bob').sessions.map((s) => s.id), ['b2', 'b1'], 'oldest first');
  await server.news(closed('bob', wire('b1', { why: 'CLIENT' }), true), closed('bob', wire('b2', { why: 'DISCONNECTED' })));
  assert.deepEqual(took(), ['bob: available opened b2', 'bob: unavailable closed b1 CLIENT, closed b2 DISCONNECTED']);
  assert.equal(session.store.get('bob').lastSeen, 99);
});

test('what says nothing new is not told, and nothing is made anew', async () => {
  const { server, session, took } = await open({ watch: ['bob', 'carol'] });
  await server.news(current('bob', wire('b1', { properties: { a: 1 } })), none('carol'));
  const before = session.store.getSnapshot();
  const bob = session.store.get('bob');
  took();
  let told = 0;
  session.store.subscribe(() => told++);
  session.store.subscribeUser('bob', () => told++);
  await server.news(current('bob', wire('b1', { properties: { a: 1 }, rev: 9 })), done('bob'), none('carol'), { k: 'of a newer server' });
  assert.deepEqual(took(), []);
  assert.equal(told, 0);
  assert.equal(session.store.getSnapshot(), before);
  await server.news(updated('carol', wire('c1')));
  assert.equal(session.store.get('bob'), bob, 'another user stays the same object');
  assert.notEqual(session.store.getSnapshot(), before);
  assert.equal(session.store.getSnapshot(), session.store.getSnapshot());
  assert.equal(before.get('carol').available, false, 'a snapshot does not change');
  assert.throws(() => (bob.sessions[0].properties.a = 2), TypeError);
  assert.equal(told, 1);
});

test('a session that came and went within one message leaves no step', async () => {
  const { server, took } = await open({ watch: ['bob'] });
  await server.news(none('bob'));
  took();
  await server.news(opened('bob', wire('b1')), closed('bob', wire('b1')));
  assert.deepEqual(took(), ['bob: unavailable'], 'only the last seen is new');
  await server.news(opened('bob', wire('b1')));
  took();
  await server.news(closed('bob', wire('b1')), opened('bob', wire('b1', { at: 30 })));
  assert.deepEqual(took(), ['bob: available updated b1']);
});

test('a server that starts over changes only what it says otherwise', async () => {
  const { server, clock, took, session } = await open({ watch: ['bob', 'carol', 'dave'] });
  await server.news(current('bob', wire('b1')), current('bob', wire('b2')), current('carol', wire('c1')), current('dave', wire('d1')), { k: 'done', all: true });
  took();
  await server.drop();
  assert.equal(session.getSnapshot().link, 'down');
  assert.equal(session.getSnapshot().downSince, clock.time);
  await clock.pass(1000);
  await server.welcome({ resync: true });
  assert.deepEqual(took(), [], 'the link going and coming is no news of anybody');
  await server.news(current('bob', wire('b2', { rev: 7 })), current('bob', wire('b3', { since: 40 })), current('carol', wire('c1')));
  assert.deepEqual(took(), ['bob: available current b3']);
  await server.news(done('bob'));
  assert.deepEqual(took(), ['bob: available closed b1'], 'what the snapshot left out is closed');
  await server.news(none('dave'), { k: 'done', all: true });
  assert.deepEqual(took(), ['dave: unavailable closed d1']);
  assert.deepEqual(session.store.get('carol').sessions.map((s) => s.id), ['c1']);
});

test('who is unwatched leaves, and late news do not bring him back', async () => {
  const { server, session, took } = await open({ watch: ['bob'] });
  await server.news(current('bob', wire('b1')));
  took();
  session.unwatch('bob', 'nobody');
  assert.deepEqual(took(), ['bob: unwatched']);
  assert.equal(session.store.getSnapshot().size, 0);
  const request = await server.one();
  assert.deepEqual(request, { t: 'unwatch', users: ['bob'], id: 1 });
  await server.news(updated('bob', wire('b1', { show: 'away' })), ended('bob'));
  await server.say({ t: 'ok', id: 1 });
  assert.deepEqual(took(), []);
});

test('friends come, go, and are not mistaken for the watched', async () => {
  const { server, session, took, hello } = await open({ watch: ['bob'], friends: true });
  assert.equal(hello.friends, true);
  await server.news(current('bob', wire('b1')), done('bob'), current('carol', wire('c1')), none('dave'), doneFriends(2));
  took();
  await server.news(ended('carol', 'NO_LONGER_FRIEND'), ended('bob', 'NO_LONGER_FRIEND'));
  assert.deepEqual(took(), ['carol: unwatched'], 'bob is watched by name too');
  session.unwatchFriends();
  assert.deepEqual(took(), ['dave: unwatched']);
  assert.deepEqual(await server.one(), { t: 'unwatch', friends: true, id: 1 });
  await server.news(updated('dave', wire('d1')));
  assert.deepEqual(took(), []);
});

test('a friend who was unwatched by name comes anew as a friend', async () => {
  const { server, session, took } = await open({ watch: ['bob'], friends: true });
  await server.news(current('bob', wire('b1')));
  took();
  session.unwatch('bob');
  await server.read();
  await server.news(updated('bob', wire('b1', { show: 'busy' })));
  assert.deepEqual(took(), ['bob: unwatched'], 'that was said of the watched one');
  await server.news(ended('bob'), current('bob', wire('b1')));
  assert.deepEqual(took(), ['bob: available current b1']);
});

test('who is a friend no more after the server started over leaves', async () => {
  const { server, clock, took } = await open({ friends: true });
  await server.news(current('bob', wire('b1')), current('carol', wire('c1')), doneFriends(2));
  took();
  await server.drop();
  await clock.pass(1000);
  await server.welcome({ resync: true });
  await server.news(current('carol', wire('c1')), doneFriends(1));
  assert.deepEqual(took(), ['bob: unwatched']);
});

test('a listener that throws does not stop the others, nor the session', async () => {
  const { server, session } = await open({ watch: ['bob'] });
  const thrown = [];
  const { queueMicrotask } = globalThis;
  globalThis.queueMicrotask = (then) => {
    try {
      then();
    } catch (err) {
      thrown.push(err.message);
    }
  };
  session.store.subscribe(() => {
    throw new Error('the program is wrong');
  });
  let told = 0;
  const leave = session.store.subscribe(() => told++);
  await server.news(none('bob'));
  globalThis.queueMicrotask = queueMicrotask;
  assert.deepEqual(thrown, ['the program is wrong']);
  assert.equal(told, 1);
  assert.equal(session.getSnapshot().link, 'up');
  leave();
});
