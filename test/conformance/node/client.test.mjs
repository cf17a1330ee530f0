// The package clients/js in Node, over Node's own WebSocket (where it has one)
// and over the one that most programs install.

import { after, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { WebSocket as Installed } from 'ws';
import { PresenceSession } from '../../../clients/js/dist/porchlight-client.js';
import { Device, hangUp, online, someone, tokenFor } from './device.mjs';
import { Node, home } from './node.mjs';

const { PORCHLIGHT_HTTP: http, PORCHLIGHT_PROGRAM: program } = process.env;
const key = 'porchlight development server key, known to everyone, loopback only';
const patience = 20_000;
const sessions = [];

after(() => {
  for (const s of sessions) s.close();
  hangUp();
});

/** A session of a user; its sockets are in `sockets`, and what its store told in `told`. */
function session(user, options = {}) {
  const sockets = [];
  const Base = options.WebSocket ?? globalThis.WebSocket ?? Installed;
  const told = [];
  const s = new PresenceSession({
    url: `http://${http}`, token: () => tokenFor(user), device: { product: 'conformance', locale: 'en' }, backoff: { first: 200 }, ...options,
    WebSocket: class extends Base {
      constructor(...args) {
        super(...args);
        sockets.push(this);
      }
    },
  });
  s.store.onChange(({ user, now, steps }) => told.push(`${user} ${now ? (now.available ? 'available' : 'unavailable') : 'unwatched'} ${steps.map((p) => p.kind)}`.trim()));
  sessions.push(s);
  return Object.assign(s, {
    user, sockets, told,
    took: () => told.splice(0),
    /** Cuts the link as a network would. */
    cut: () => sockets.at(-1).close(),
  });
}

async function opened(user, options) {
  const s = session(user, options);
  await s.open();
  return s;
}

/** Waits until something is so, of what a subscribe function tells. */
async function until(what, subscribe, is, longest = patience) {
  const limit = AbortSignal.timeout(longest);
  let leave;
  await new Promise((resolve, reject) => {
    limit.onabort = () => reject(new Error(`waited in vain: ${what}`));
    const look = () => is() && resolve();
    leave = subscribe(look);
    look();
  }).finally(() => leave());
}

const sees = (s, user, is) => until(`${s.user} sees ${user}`, s.store.subscribe, () => s.store.get(user) && is(s.store.get(user)));
const linkIs = (s, link, longest) => until(`the link of ${s.user} is ${link}`, s.subscribe, () => s.getSnapshot().link === link, longest);

async function rest(method, path) {
  const response = await fetch(`http://${http}/api/v1/${path}`, { method, headers: { authorization: `Bearer ${key}` } });
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${await response.text()}`);
}

const classes = { 'the class ws': Installed, ...(globalThis.WebSocket && { "Node's own class": globalThis.WebSocket }) };

for (const [name, WebSocket] of Object.entries(classes)) {
  describe(`clients/js over ${name}`, { concurrency: true, timeout: 120_000 }, () => {
    test('two see each other come, say something, and go', async () => {
      const [a, b] = [someone('alice'), someone('bob')];
      const alice = await opened(a, { WebSocket, watch: [b] });
      await sees(alice, b, (p) => !p.available);
      assert.equal(alice.store.get(b).lastSeen, undefined, 'never seen');
      const bob = await opened(b, { WebSocket, watch: [a], status: { show: 'busy', text: 'in a call', properties: { room: 7, open: true, rate: 0.5 } } });
      await sees(alice, b, (p) => p.available);
      await sees(bob, a, (p) => p.available);
      const [seen] = alice.store.get(b).sessions;
      assert.deepEqual(
        { ...seen, connectedAt: 0, updatedAt: 0 },
        { id: bob.getSnapshot().id, platform: 'node', product: 'conformance', show: 'busy', text: 'in a call', properties: { room: 7, open: true, rate: 0.5 }, connectedAt: 0, updatedAt: 0 },
      );
      assert.ok(Math.abs(seen.connectedAt - Date.now()) < 60_000);
      await bob.patch({ show: 'away', text: null, properties: { room: null } });
      await sees(alice, b, (p) => p.sessions[0].show === 'away');
      assert.deepEqual([alice.store.get(b).sessions[0].text, alice.store.get(b).sessions[0].properties], [undefined, { open: true, rate: 0.5 }]);
      await bob.set({ text: { token: 'match.playing', args: { map: { token: 'map.harbour' }, score: 3, other: 2 }, fallback: 'playing' } });
      await sees(alice, b, (p) => /Harbour/.test(p.sessions[0].text ?? ''));
      await bob.leave();
      await sees(alice, b, (p) => !p.available);
      assert.ok(alice.store.get(b).lastSeen > 0);
      assert.deepEqual(alice.told.map((t) => t.replace(b, 'bob')), [
        'bob unavailable', 'bob available opened', 'bob available updated', 'bob available updated', 'bob unavailable closed',
      ]);
      assert.equal(bob.getSnapshot().link, 'over');
    });

    test('a link that breaks is not seen by others, and what was missed is told', async () => {
      const [a, b, c] = [someone('alice'), someone('bob'), someone('carol')];
      const alice = await opened(a, { WebSocket, watch: [b, c] });
      const watcher = await opened(someone('watcher'), { WebSocket, watch: [a] });
      await sees(watcher, a, (p) => p.available);
      await sees(alice, c, () => true);
      watcher.took();
      const { id } = alice.getSnapshot();
      const before = alice.store.get(c);
      alice.cut();
      await linkIs(alice, 'down');
      const bob = await opened(b, { WebSocket });
      await linkIs(alice, 'up');
      await sees(alice, b, (p) => p.available);
      assert.equal(alice.getSnapshot().id, id, 'the same session');
      assert.equal(alice.store.get(c), before, 'who did not change is the same object');
      await wait(7500); // a grace that was not called off would end here
      await alice.set({ show: 'busy' });
      await sees(watcher, a, (p) => p.sessions[0].show === 'busy');
      assert.deepEqual(watcher.took(), [`${a} available updated`]);
      await bob.logout();
    });

    test('whatever happens to the links and the lists, all agree in the end', async () => {
      const users = ['alice', 'bob', 'carol', 'dave'].map(someone);
      const all = await Promise.all(users.map((u) => opened(u, { WebSocket, watch: users, backoff: { first: 50, max: 200 } })));
      await Promise.all(users.map((u) => rest('PUT', `users/${all[0].user}/friends/${u}`).catch(() => {}))); // nobody is his own friend
      const seed = Date.now() % 1e6;
      let chance = seed;
      const below = (n) => (chance = (chance * 48_271) % 2_147_483_647) % n;
      for (let i = 0; i < 400; i++) {
        const s = all[below(all.length)];
        const other = users[below(users.length)];
        switch (below(8)) {
          case 0: s.cut(); break;
          case 1: s.unwatch(other); break;
          case 2: s.watch(other).catch(() => {}); break;
          case 3: s === all[0] && (below(2) ? s.watchFriends().catch(() => {}) : s.unwatchFriends()); break;
          case 4: s.patch({ invisible: below(2) === 0 }).catch(() => {}); break;
          default: s.patch({ show: ['online', 'away', 'busy'][below(3)], text: `${i}` }).catch(() => {});
        }
        if (below(4) === 0) await wait(below(30));
      }
      for (const s of all) {
        await s.watch(...users);
        await s.patch({ invisible: false, text: `the end of ${s.user}` });
      }
      for (const s of all) {
        for (const o of all) {
          await sees(s, o.user, (p) => p.available && p.sessions.length === 1 && p.sessions[0].text === `the end of ${o.user}` && p.sessions[0].show === (o.getSnapshot().status.show ?? 'online'))
            .catch((err) => assert.fail(`seed ${seed}: ${err.message}: ${JSON.stringify(s.store.get(o.user))}`));
        }
        assert.equal(s.getSnapshot().id, s.store.get(s.user).sessions[0].id);
      }
    });

    test('friends come and go with the list', async () => {
      const [a, b] = [someone('alice'), someone('bob')];
      const alice = await opened(a, { WebSocket });
      await alice.watchFriends();
      const bob = await opened(b, { WebSocket });
      await rest('PUT', `users/${a}/friends/${b}`);
      await sees(alice, b, (p) => p.available);
      await bob.set({ show: 'away' });
      await sees(alice, b, (p) => p.sessions[0].show === 'away');
      await rest('DELETE', `users/${a}/friends/${b}`);
      await until('bob leaves the store', alice.store.subscribe, () => alice.store.get(b) === undefined);
      await rest('PUT', `users/${a}/friends/${b}`);
      await sees(alice, b, (p) => p.available);
      alice.unwatchFriends();
      assert.equal(alice.store.getSnapshot().size, 0);
      await alice.watch(b);
      await sees(alice, b, (p) => p.available);
      alice.unwatch(b);
      await alice.watchFriends();
      await sees(alice, b, (p) => p.available);
    });

    test('who is invisible looks offline to others, and not to himself', async () => {
      const [a, b] = [someone('alice'), someone('bob')];
      const alice = await opened(a, { WebSocket, watch: [b] });
      const bob = await opened(b, { WebSocket, watch: [b], status: { show: 'busy' } });
      await sees(alice, b, (p) => p.available);
      await bob.patch({ invisible: true });
      await sees(alice, b, (p) => !p.available);
      await sees(bob, b, (p) => p.available);
      const asked = await alice.get([b, someone('nobody')], { sessions: true });
      assert.deepEqual([...asked.values()].map((p) => [p.available, p.unknown, p.sessions]), [[false, false, []], [false, false, []]]);
      await bob.patch({ invisible: false });
      await sees(alice, b, (p) => p.available);
      assert.equal((await alice.get([b], { sessions: true })).get(b).sessions[0].show, 'busy');
    });

    test('a session that was made at the gRPC door goes on here', async () => {
      const [a, b] = [someone('alice'), someone('bob')];
      const watcher = await opened(a, { WebSocket, watch: [b] });
      await sees(watcher, b, (p) => !p.available);
      const device = await new Device(b).make();
      const page = await opened(b, { WebSocket, resume: device.token });
      await sees(watcher, b, (p) => p.available);
      assert.equal(page.getSnapshot().status, undefined, 'nobody here knows it');
      await page.patch({ show: 'busy' });
      await sees(watcher, b, (p) => p.sessions[0].show === 'busy');
      assert.deepEqual(watcher.took(), [`${b} unavailable`, `${b} available opened`, `${b} available updated`]);
    });

    test('what a device at the gRPC door says is seen here', async () => {
      const b = someone('bob');
      const alice = await opened(someone('alice'), { WebSocket, watch: [b] });
      const bob = await online(b, { initial: { status: 'IS_ONLINE_STATUS_AWAY' } });
      await sees(alice, b, (p) => p.sessions[0]?.show === 'away');
      await bob.close('CLOSE_MODE_LOGOUT');
      await sees(alice, b, (p) => !p.available);
    });

    test('what is refused changes nothing', async () => {
      const a = someone('alice');
      const alice = await opened(a, { WebSocket, watch: [a], status: { show: 'away' } });
      await sees(alice, a, (p) => p.available);
      await assert.rejects(alice.set({ text: 'x'.repeat(300) }), (err) => err.reason === 'FIELD_INVALID' && !err.temporary && err.fields[0].path.startsWith('status'));
      assert.deepEqual(alice.getSnapshot().status, { show: 'away' });
      assert.equal(alice.store.get(a).sessions[0].show, 'away');
      assert.equal(alice.getSnapshot().link, 'up');
      const stranger = session(a, { WebSocket, token: () => 'eyJ.no.token' });
      await assert.rejects(stranger.open(), (err) => err.reason === 'JWT_INVALID' && !err.message.includes('eyJ'));
      const wrong = session(a, { WebSocket, status: { text: 'x'.repeat(300) } });
      await assert.rejects(wrong.open(), { reason: 'FIELD_INVALID' });
    });

    test('an expired token is fetched anew', async () => {
      const a = someone('alice');
      let asked = 0;
      const expired = tokenFor(a, '--ttl', '1s');
      await wait(2500);
      const alice = await opened(a, { WebSocket, token: () => (asked++ === 0 ? expired : tokenFor(a)) });
      assert.equal(asked, 2);
      await alice.renewToken();
      assert.equal(asked, 3);
      assert.equal(alice.sockets.length, 2);
    });

    test('a token that expires under a session is renewed when it is needed', async () => {
      const a = someone('alice');
      let asked = 0;
      const alice = await opened(a, { WebSocket, token: () => tokenFor(a, '--ttl', asked++ === 0 ? '2s' : '5m') });
      await wait(3500); // the server allows for a second between two clocks
      await alice.set({ show: 'busy' });
      assert.equal((await alice.get([a], { sessions: true })).get(a).sessions[0].show, 'busy');
      assert.deepEqual([asked, alice.sockets.length], [2, 1], 'on the same connection');
    });

    test('another holder of the session takes it over, and the first one says so', async () => {
      const a = someone('alice');
      const device = await new Device(a).make();
      const first = await opened(a, { WebSocket, resume: device.token });
      const second = await opened(a, { WebSocket, resume: device.token });
      assert.equal((await first.over).reason, 'REPLACED_STREAM');
      assert.equal(second.getSnapshot().link, 'up');
    });
  });
}

/** A node that goes with the test. */
async function begun(t) {
  const { dir, remove } = home();
  const server = new Node(program, dir);
  t.after(async () => {
    server.child.kill('SIGCONT');
    await server.stop();
    remove();
  });
  return server.start();
}

describe('clients/js and a server that goes', { concurrency: true, timeout: 120_000 }, () => {
  for (const signal of ['SIGTERM', 'SIGKILL']) {
    test(`${signal} and a new start: the sessions go on, and nobody is told of anything`, async (t) => {
      const server = await begun(t);
      const options = { url: `http://${server.http}`, backoff: { first: 200, max: 1000 } };
      const alice = await opened('alice', { ...options, watch: ['bob'] });
      const bob = await opened('bob', { ...options, watch: ['alice'], status: { show: 'busy', text: 'in a call' } });
      await sees(alice, 'bob', (p) => p.available);
      await sees(bob, 'alice', (p) => p.available);
      await wait(1500); // what was said a second ago is in the checkpoint
      const ids = [alice.getSnapshot().id, bob.getSnapshot().id];
      alice.took();
      bob.took();
      await server.stop(signal);
      await linkIs(alice, 'down');
      await linkIs(bob, 'down');
      await server.start();
      await linkIs(alice, 'up');
      await linkIs(bob, 'up');
      assert.deepEqual([alice.getSnapshot().id, bob.getSnapshot().id], ids, 'the same sessions');
      await bob.patch({ show: 'away' });
      await sees(alice, 'bob', (p) => p.sessions[0]?.show === 'away');
      assert.deepEqual(alice.took(), ['bob available updated']);
      assert.deepEqual(bob.took(), []);
      assert.equal(alice.store.get('bob').sessions[0].text, 'in a call');
      alice.close();
      bob.close();
    });
  }

  test('a server that stands still is noticed, and nobody is told of anything when it goes on', async (t) => {
    const server = await begun(t);
    const options = { url: `http://${server.http}`, backoff: { first: 200, max: 1000 } };
    const alice = await opened('alice', { ...options, watch: ['bob'] });
    const bob = await opened('bob', { ...options, watch: ['alice'] });
    await sees(alice, 'bob', (p) => p.available);
    await sees(bob, 'alice', (p) => p.available);
    alice.took();
    bob.took();
    const { id } = alice.getSnapshot();
    server.child.kill('SIGSTOP');
    await linkIs(alice, 'down', 30_000); // 11.7 s of silence, then 10 s for the answer to a ping
    assert.equal(alice.getSnapshot().error.reason, 'SILENT');
    server.child.kill('SIGCONT');
    await linkIs(alice, 'up', 30_000);
    await linkIs(bob, 'up', 30_000);
    assert.equal(alice.getSnapshot().id, id, 'the same session');
    await bob.set({ show: 'busy' });
    await sees(alice, 'bob', (p) => p.sessions[0]?.show === 'busy');
    assert.deepEqual([alice.took(), bob.took()], [['bob available updated'], []]);
    alice.close();
    bob.close();
  });
});
