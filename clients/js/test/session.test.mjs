// How a session keeps itself alive, and what it tells the server.

import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { PresenceError, PresenceSession, actionLink } from '../dist/porchlight-client.js';
import { FakePage, begin, current, done, none, open, settled, wire } from './fake.mjs';

const outcome = (promise) => promise.then(() => 'ok', (err) => err.reason ?? err.message);

describe('options', () => {
  const make = (o) => () => new PresenceSession({ url: 'wss://x', token: () => 't', WebSocket: class {}, ...o });
  for (const [what, o, says] of [
    ['an address without a scheme', { url: 'presence.example' }, /want wss:/],
    ['plaintext to another machine', { url: 'ws://presence.example' }, /without TLS/],
    ['a host that only begins like this machine', { url: 'http://127.0.0.1.evil.example' }, /without TLS/],
    ['a password in the address', { url: 'wss://a:secret@x' }, /do not belong there/],
    ['no address', { url: [] }, /at least one/],
    ['what is no address', { url: undefined }, /at least one/],
    ['a bad one among several', { url: ['wss://x', 'ws://presence.example'] }, /without TLS/],
    ['one of several that is no text', { url: ['wss://x', 7] }, /want wss:/],
    ['no token function', { token: 'eyJ' }, /want a function/],
    ['an empty user', { watch: [''] }, /1 to 128 bytes/],
    ['a user of too many bytes', { watch: ['ü'.repeat(65)] }, /1 to 128 bytes/],
    ['half a character', { watch: ['\ud800'] }, /1 to 128 bytes/],
  ]) {
    test(`refuse ${what}`, () => assert.throws(make(o), says));
  }
  test('say what to do where there is no WebSocket', { skip: globalThis.WebSocket !== undefined && 'there is one' }, () => {
    assert.throws(make({ WebSocket: undefined }), /Node 22/);
  });
  for (const [url, want] of [
    ['https://x', 'wss://x/live'], ['http://localhost:7400/', 'ws://localhost:7400/live'], ['ws://[::1]:1/p?q=1', 'ws://[::1]:1/p?q=1'], ['wss://x/live', 'wss://x/live'],
  ]) {
    test(`take ${url}`, async () => {
      const { server, session } = begin({ url });
      session.open();
      await settled();
      assert.equal(server.socket.url, want);
      assert.deepEqual(server.socket.protocols, ['porchlight.v1']);
      session.close();
    });
  }
});

test('a hello says all that is wanted', async () => {
  const { hello, session } = await open({
    watch: ['bob'], friends: true, status: { show: 'busy', text: 'x' }, device: { product: 'demo', platform: 'tv' },
  });
  assert.deepEqual(hello, {
    t: 'hello', token: 'token-1', device: { platform: 'tv', locale: 'de-DE', product: 'demo' }, watch: ['bob'], friends: true, status: { show: 'busy', text: 'x' },
  });
  const { link, id, status } = session.getSnapshot();
  assert.deepEqual({ link, id, status }, { link: 'up', id: 'public-1', status: { show: 'busy', text: 'x' } });
});

test('live notifications are told, each once', async () => {
  const told = [];
  const { server, hello } = await open({ onNotification: (n) => told.push(n) });
  assert.equal(hello.notifications, true);
  await server.say({ t: 'm', m: [{ id: '1', publisher: 'chat', source: 'Chat', message: 'one', action: 'https://x.example/', at: 5, until: 9 }, { id: '1', message: 'other', at: 5 }] });
  await server.say({ t: 'm', m: [{ id: '1', publisher: 'chat', message: 'one', at: 5 }, { id: '2', message: 'two', at: 6 }] });
  assert.deepEqual(told, [
    { id: '1', publisher: 'chat', source: 'Chat', message: 'one', action: 'https://x.example/', at: 5, until: 9 },
    { id: '1', message: 'other', at: 5 }, { id: '2', message: 'two', at: 6 },
  ]);
  await server.say({ t: 'm' });
  await server.drop();
});

test('live notifications that nobody takes are not asked for', async () => {
  const { server, hello } = await open();
  assert.equal(hello.notifications, undefined);
  await server.say({ t: 'm', m: [{ id: '1', message: 'one', at: 5 }] });
  assert.equal(server.sockets.length, 1);
});

test('topics are subscribed to and told', async () => {
  const told = [];
  const { server, hello } = await open({ onTopic: (m) => told.push(m), onTopicsMissed: () => told.push('missed') });
  assert.equal(hello.topics, true);
  await server.say({ t: 'topic', m: [{ topic: 'T', u: 'bob', name: 'mood', value: { x: 1 }, at: 5 }, { topic: 'T', u: 'bob', name: 'call', value: 'Ringing', at: 6, in_call: true }] });
  await server.say({ t: 'topic', missed: true });
  assert.deepEqual(told, [
    { topic: 'T', user: 'bob', name: 'mood', value: { x: 1 }, at: 5, inCall: false }, { topic: 'T', user: 'bob', name: 'call', value: 'Ringing', at: 6, inCall: true }, 'missed',
  ]);
  assert.equal((await open()).hello.topics, undefined);
});

test('an action is a link only if it leads to a page', () => {
  for (const action of ['https://x.example/a?b#c', 'http://x.example', 'HTTPS://x.example/ä']) assert.equal(actionLink({ action }), action);
  for (const action of [undefined, '', 'javascript:alert(1)', 'data:text/html,x', ' https://x.example', 'https:/x', 'https://', 'https:///x', 'https://x.example/a b',
    'https:\n//x', 'java\nscript:alert(1)', 'ftp://x', 'x.example', '//x.example', 'chat:room', 'https://\\x']) {
    assert.equal(actionLink({ action }), undefined, action);
  }
});

test('a lost link is resumed where it was, and what is wanted is said again', async () => {
  const { server, clock, session, tokens } = await open({ watch: ['bob'], status: { show: 'away' } });
  await server.news(current('bob', wire('b1')), done('bob'));
  await server.drop();
  assert.equal(session.getSnapshot().retryAt, clock.time + 750);
  await clock.pass(749);
  assert.equal(server.sockets.length, 1);
  await clock.pass(1);
  const hello = await server.welcome();
  assert.deepEqual(hello, {
    t: 'hello', token: 'token-1', device: { platform: 'web', locale: 'de-DE' }, watch: ['bob'], status: { show: 'away' }, resume: 'resume-1', after: 2,
  });
  assert.equal(tokens.length, 1, 'the token is kept');
  assert.deepEqual(Object.keys(session.getSnapshot()).sort(), ['id', 'link', 'status'], 'nothing is left of the loss');
});

test('pauses grow, are jittered, and begin anew after the link held', async () => {
  const { server, clock } = await open();
  server.refuse = true;
  await server.drop();
  const pauses = [];
  for (let i = 0; i < 7; i++) {
    const before = clock.time;
    const n = server.sockets.length;
    while (server.sockets.length === n) await clock.pass(50);
    pauses.push(clock.time - before);
    await settled();
  }
  assert.deepEqual(pauses, [750, 1500, 3000, 6000, 12_000, 22_500, 22_500]);
  server.refuse = false;
  await clock.pass(22_500);
  await server.welcome();
  await server.drop();
  await clock.pass(20_000);
  assert.equal(server.sockets.length, 9, 'it held too short');
  await clock.pass(2500);
  await server.welcome();
  for (let i = 0; i < 3; i++) {
    await clock.pass(10_000);
    await server.say({ t: 'pong' });
  }
  await server.drop();
  await clock.pass(750);
  assert.equal(server.sockets.length, 11);
});

test('a connection that fails without a close is one that failed', async () => {
  const { server, clock } = await open();
  server.refuse = 'silently';
  await server.drop();
  await clock.pass(750);
  assert.equal(server.sockets.length, 2);
  await clock.pass(1500);
  assert.equal(server.sockets.length, 3);
});

test('the server says when to come again', async () => {
  const { server, clock, session } = await open();
  await server.say({ t: 'bye', reason: 'DRAINING', kept: true, retry_after: 321 });
  assert.equal(session.getSnapshot().error.reason, 'DRAINING');
  await clock.pass(320);
  assert.equal(server.sockets.length, 1);
  await clock.pass(1);
  assert.equal((await server.welcome()).resume, 'resume-1');
});

test('pauses do not grow while nodes are restarted one after the other', async () => {
  const { server, clock, session } = await open();
  for (let i = 0; i < 6; i++) {
    await clock.pass(2000);
    await server.say({ t: 'bye', reason: 'DRAINING', kept: true, retry_after: 321 });
    await clock.pass(321);
    await server.welcome();
    assert.equal(session.getSnapshot().link, 'up', `after ${i + 1}`);
  }
  session.close();
});

describe('of several addresses', () => {
  const url = ['wss://a', 'wss://b', 'wss://c'];
  const went = (server) => server.sockets.map((s) => s.url[6]).join('');

  test('the next is tried at once when nobody answers, and each of them once between two pauses', async () => {
    const { server, clock, session } = begin({ url });
    server.refuse = () => true;
    session.open();
    await settled();
    assert.equal(went(server), 'a');
    await clock.pass(0);
    assert.equal(went(server), 'abc');
    await clock.pass(749);
    assert.equal(went(server), 'abc');
    await clock.pass(1);
    assert.equal(went(server), 'abcabc', 'the first pause');
    await clock.pass(1499);
    assert.equal(went(server), 'abcabc');
    await clock.pass(1);
    assert.equal(went(server), 'abcabcabc', 'a round is one failure: the second pause is twice the first');
    session.close();
  });

  test('one that answers is kept, and a link that breaks is made there again', async () => {
    const { server, clock, session } = begin({ url });
    server.refuse = (at) => at.startsWith('wss://a');
    const opening = session.open();
    await clock.pass(0);
    await server.welcome();
    await opening;
    await server.drop();
    await clock.pass(750);
    assert.equal(went(server), 'abb');
    assert.equal((await server.welcome()).resume, 'resume-1');
    session.close();
  });

  test('a node that drains is left, after the pause that it asks for, with the same session and nothing seen', async () => {
    const { server, clock, session, took } = await open({ url, watch: ['bob'] });
    await server.news(current('bob', wire('s1')), done('bob'));
    took();
    await server.say({ t: 'bye', reason: 'DRAINING', kept: true, retry_after: 321 });
    await clock.pass(320);
    assert.equal(went(server), 'a');
    await clock.pass(1);
    assert.equal(went(server), 'ab');
    const hello = await server.welcome();
    assert.deepEqual([hello.resume, hello.after], ['resume-1', 2]);
    assert.equal(session.getSnapshot().link, 'up');
    assert.deepEqual(took(), []);
    // The close code alone says the same; and the one after the last is the first.
    await server.drop(1001);
    await clock.pass(1500);
    await server.welcome();
    assert.equal(went(server), 'abc');
    await server.drop(1001);
    await clock.pass(3000);
    assert.equal(went(server), 'abca');
    session.close();
  });

  test('one that cannot take sessions now is left; one that refuses this one for good is believed', async () => {
    const { server, clock, session } = begin({ url });
    session.open().catch(() => {});
    await server.one();
    await server.say({ t: 'bye', reason: 'NODE_UNAVAILABLE', retry_after: 2000 });
    await clock.pass(1999);
    assert.equal(went(server), 'a');
    await clock.pass(1);
    assert.equal(went(server), 'ab');
    await server.one();
    await server.say({ t: 'bye', reason: 'RATE_LIMITED', retry_after: 5000 });
    await clock.pass(5000);
    assert.equal(went(server), 'abb', 'a limit counts at all nodes');
    await server.one();
    await server.say({ t: 'bye', reason: 'JWT_INVALID' });
    await clock.pass(60_000);
    assert.equal(went(server), 'abb');
    assert.equal(session.getSnapshot().link, 'over');
  });

  test('a silent one is left', async () => {
    const { server, clock, session } = begin({ url });
    session.open();
    await server.one();
    await clock.pass(15_000);
    assert.equal(went(server), 'ab');
    session.close();
  });
});

test('no length of time is too long for a timer', async () => {
  const { server, clock, session } = await open();
  await server.say({ t: 'bye', reason: 'DRAINING', kept: true, retry_after: 1e300 });
  assert.equal(session.getSnapshot().retryAt, clock.time + 86_400_000);
});

test('a session that is gone is made anew, at once, with all that is wanted', async () => {
  const { server, clock, session } = await open({ watch: ['bob'], friends: true });
  await session.store.getSnapshot();
  const setting = session.set({ show: 'busy' });
  await server.say({ t: 'ok', id: (await server.one()).id });
  await setting;
  await server.drop();
  await clock.pass(1000);
  await server.one();
  await server.say({ t: 'bye', reason: 'SESSION_GONE', kept: false });
  await clock.pass(0);
  const hello = await server.welcome({ session: 'public-2', resume: 'resume-2' });
  assert.deepEqual([hello.resume, hello.after, hello.watch, hello.friends, hello.status], [undefined, undefined, ['bob'], true, { show: 'busy' }]);
  assert.equal(session.getSnapshot().id, 'public-2');
});

test('refused at once and again, it does not run in circles', async () => {
  const { server, clock } = await open();
  await server.drop();
  await clock.pass(1000);
  for (let i = 0; i < 2; i++) {
    await server.one();
    await server.say({ t: 'bye', reason: 'JWT_EXPIRED' });
    await clock.pass(0);
  }
  await clock.pass(749);
  assert.equal(server.sockets.length, 3, 'one attempt without a pause, not more');
  await clock.pass(751);
  assert.equal(server.sockets.length, 4);
});

test('an expired token is fetched anew', async () => {
  const { server, clock, tokens, session } = await open();
  await server.say({ t: 'bye', reason: 'TOKEN_EXPIRED', kept: true });
  await clock.pass(0);
  assert.equal((await server.welcome()).token, 'token-2');
  const renewing = session.renewToken();
  assert.deepEqual(await server.one(), { t: 'token', token: 'token-3', id: 1 });
  await server.say({ t: 'ok', id: 1 });
  await renewing;
  assert.equal(tokens.length, 3);
});

test('a call that is refused because the token has expired is made again with a new one', async () => {
  const { server, session, tokens } = await open();
  const setting = outcome(session.set({ show: 'busy' }));
  const asking = session.get(['a']);
  const [set, get] = await server.read();
  await server.say({ t: 'error', id: set.id, reason: 'JWT_EXPIRED', message: 'expired' });
  await server.say({ t: 'error', id: get.id, reason: 'JWT_EXPIRED', message: 'expired' });
  const renewal = await server.one();
  assert.deepEqual([renewal.t, renewal.token], ['token', 'token-2'], 'one new token for both');
  await server.say({ t: 'ok', id: renewal.id });
  const again = await server.read();
  assert.deepEqual(again.map((f) => f.t).sort(), ['get', 'set']);
  for (const f of again) await server.say({ t: 'ok', id: f.id, users: [{ u: 'a', on: false }] });
  assert.equal(await setting, 'ok');
  assert.equal((await asking).size, 1);
  assert.deepEqual([tokens.length, server.sockets.length], [2, 1], 'on the same connection');
});

test('tokens that have expired already are not fetched in circles', async () => {
  const { server, clock, session, tokens } = await open();
  session.set({ show: 'busy' }).catch(() => {});
  let refused = 0;
  for (let i = 0; i < 20; i++) {
    for (const f of await server.read()) {
      refused++;
      await server.say({ t: 'error', id: f.id, reason: 'JWT_EXPIRED', message: 'expired' });
    }
  }
  assert.ok(refused <= 2 && tokens.length <= 3, `${refused} refused, ${tokens.length} tokens`);
  await clock.pass(750);
  assert.equal((await server.one()).t, 'set');
});

test('a token that cannot be had is asked for again, and its error shows no token', async () => {
  let fails = 2;
  const { server, clock, session } = begin({ token: () => (fails-- > 0 ? Promise.reject(new Error('no network')) : 'late') });
  const opening = session.open();
  await settled();
  assert.equal(session.getSnapshot().error.reason, 'TOKEN_UNAVAILABLE');
  assert.match(session.getSnapshot().error.message, /no network/);
  assert.equal(session.getSnapshot().link, 'connecting');
  await clock.pass(2250);
  assert.equal((await server.welcome()).token, 'late');
  await opening;
});

for (const [reason, code] of [['JWT_INVALID', 4401], ['FIELD_INVALID', 4400], ['REPLACED_STREAM', 4409], ['SESSION_CLOSED', 1000]]) {
  test(`${reason} is the end`, async () => {
    const { server, clock, page, session } = begin();
    const opening = outcome(session.open());
    await server.one();
    await server.say({ t: 'bye', reason, kept: false, message: 'no', fields: [{ path: 'device.locale', message: 'is no language' }] });
    server.socket.drop(code);
    assert.equal(await opening, reason);
    const { link, error } = session.getSnapshot();
    assert.equal(link, 'over');
    assert.ok(error instanceof PresenceError);
    assert.equal(error.temporary, false);
    assert.deepEqual(error.fields, [{ path: 'device.locale', message: 'is no language' }]);
    assert.equal(await session.over, error);
    await clock.pass(100_000);
    assert.deepEqual([server.sockets.length, clock.timers, page.listeners], [1, 0, 0], 'nothing is left');
    assert.equal(await outcome(session.set({})), reason);
  });
}

for (const [why, resumes, token] of [['HEARTBEAT', 'resume-1', 'token-1'], ['EXPIRED', 'resume-1', 'token-2']]) {
  test(`closed because of ${why}, it comes again`, async () => {
    const { server, clock } = await open();
    await server.say({ t: 'bye', reason: 'SESSION_CLOSED', why, kept: false });
    await clock.pass(750);
    const hello = await server.one();
    assert.deepEqual([hello.resume, hello.token], [resumes, token]);
  });
}

test('silence is asked about, and then is a loss', async () => {
  const { server, clock, session } = await open();
  await clock.pass(10_999);
  assert.deepEqual(await server.read(), []);
  await clock.pass(1);
  assert.deepEqual(await server.one(), { t: 'ping' });
  await server.say({ t: 'pong' });
  await clock.pass(11_000);
  assert.deepEqual(await server.one(), { t: 'ping' });
  await clock.pass(9_999);
  assert.equal(session.getSnapshot().link, 'up');
  await clock.pass(1);
  assert.equal(session.getSnapshot().link, 'down');
  assert.equal(session.getSnapshot().error.reason, 'SILENT');
});

test('a server with short times is not pinged for ever', async () => {
  const b = begin();
  b.session.open();
  await b.server.welcome({ heartbeat: 1000 });
  await b.clock.pass(11_000);
  assert.equal(b.session.getSnapshot().link, 'down');
});

test('no welcome in time is a loss', async () => {
  const { server, clock, session } = begin();
  session.open();
  await settled();
  await clock.pass(15_000);
  assert.equal(session.getSnapshot().error.reason, 'SILENT');
  await clock.pass(750);
  await server.welcome();
  assert.equal(session.getSnapshot().link, 'up');
});

for (const [what, frame] of [
  ['no JSON', '{'], ['an array', '[]'], ['a gap', { t: 'n', q: 9, n: [none('bob')] }], ['news without a session', { t: 'n', q: 1, n: [{ u: 'bob', k: 'opened', on: true }] }],
  ['a second welcome', { t: 'welcome', resume: 'x', q: 0 }],
]) {
  test(`${what} of the server ends the link, not the session`, async () => {
    const { server, clock, session, took } = await open({ watch: ['bob'] });
    await server.say(frame);
    assert.equal(session.getSnapshot().error.reason, 'PROTOCOL');
    assert.deepEqual(took(), []);
    await clock.pass(750);
    await server.welcome();
    assert.equal(session.getSnapshot().link, 'up');
  });
}

test('what a newer server says besides is passed over', async () => {
  const { server, session } = await open();
  await server.say({ t: 'party', x: 1 });
  await server.say({ t: 'error', reason: 'FIELD_INVALID', message: 'unknown t' });
  await server.say({ t: 'ok', id: 77 });
  assert.equal(session.getSnapshot().link, 'up');
});

describe('a page', () => {
  test('that is seen again does not wait', async () => {
    const { server, clock, page } = await open();
    server.refuse = true;
    await server.drop();
    await clock.pass(5000);
    server.refuse = false;
    const n = server.sockets.length;
    page.fire('wake');
    await settled();
    assert.equal(server.sockets.length, n + 1);
    await server.welcome();
    page.fire('wake');
    assert.deepEqual(await server.one(), { t: 'ping' });
    await clock.pass(4000);
    assert.equal((await server.sockets.at(-1)).readyState, 3, 'no answer soon: the link is dead');
  });

  test('leaves a server alone that asked for it', async () => {
    const { server, page } = await open();
    await server.say({ t: 'bye', reason: 'DRAINING', retry_after: 5000 });
    page.fire('wake');
    await settled();
    assert.equal(server.sockets.length, 1);
  });

  test('that is offline asks, and believes the answer', async () => {
    const { server, clock, page, session } = await open();
    page.fire('offline');
    assert.deepEqual(await server.one(), { t: 'ping' });
    await server.say({ t: 'pong' });
    await clock.pass(5000);
    assert.equal(session.getSnapshot().link, 'up');
  });

  test('that is loaded anew goes on with the session, its status and only what it watches', async () => {
    const page = new FakePage();
    const first = await open({ remember: 'p', watch: ['bob', 'dave'], status: { show: 'online' } }, { page });
    const setting = first.session.patch({ show: 'busy' });
    await first.server.say({ t: 'ok', id: (await first.server.one()).id });
    await setting;
    assert.equal(page.kept.size, 0, 'a duplicated tab finds nothing');
    page.fire('hide');
    assert.equal(page.kept.size, 1);

    const next = page.reload();
    const second = begin({ remember: 'p', watch: ['bob', 'carol'], status: { show: 'online' } }, { page: next });
    assert.equal(page.kept.size, 0);
    second.session.open();
    const hello = await second.server.welcome({ q: 7 });
    assert.deepEqual([hello.resume, hello.after, hello.watch, hello.status], ['resume-1', undefined, ['bob', 'carol'], { show: 'busy' }]);
    assert.deepEqual(await second.server.one(), { t: 'unwatch', users: ['dave'], id: 1 });
    second.session.close();
    assert.equal(page.kept.size, 1, 'let go of, not left');

    const third = begin({ remember: 'p' }, { page: next });
    third.session.open();
    await third.server.welcome();
    const leaving = third.session.logout();
    await third.server.read();
    next.fire('hide');
    await third.server.say({ t: 'bye', reason: 'SESSION_CLOSED' });
    await leaving;
    assert.equal(page.kept.size, 0, 'after a logout there is nothing to go on with');
  });

  test('whose session is gone meanwhile begins a new one', async () => {
    const page = new FakePage();
    page.kept.set('p', JSON.stringify({ resume: 'old', watched: ['x'], friends: true, status: { show: 'away' } }));
    const { server, clock, session } = begin({ remember: 'p' }, { page });
    const opening = session.open();
    assert.equal((await server.one()).resume, 'old');
    await server.say({ t: 'bye', reason: 'SESSION_TOKEN_NOT_YOURS' });
    await clock.pass(0);
    const hello = await server.welcome();
    assert.deepEqual([hello.resume, hello.status], [undefined, { show: 'away' }]);
    await opening;
    assert.deepEqual(await server.read(), [], 'there is nothing to unwatch');
  });

  for (const junk of ['', 'null', '{', '[]', '{"resume":7}', '7']) {
    test(`with ${JSON.stringify(junk)} in its storage is not troubled`, async () => {
      const page = new FakePage();
      page.kept.set('p', junk);
      const { server, session } = begin({ remember: 'p' }, { page });
      session.open();
      assert.equal((await server.welcome()).resume, undefined);
    });
  }
});

describe('wishes', () => {
  test('wait for the link, and only the newest status is told', async () => {
    const { server, clock, session } = await open({ status: { show: 'away' } });
    await server.drop();
    const results = [session.set({ show: 'busy' }), session.patch({ text: 'x', properties: { a: 1, b: 2 } }), session.patch({ properties: { b: null } })].map(outcome);
    assert.deepEqual(session.getSnapshot().status, { show: 'busy', text: 'x', properties: { a: 1 } });
    await clock.pass(1000);
    assert.deepEqual((await server.welcome()).status, { show: 'busy', text: 'x', properties: { a: 1 } });
    assert.deepEqual(await Promise.all(results), ['ok', 'ok', 'ok']);
    assert.deepEqual(await server.read(), [], 'the hello said it');
  });

  test('take names as they are, whatever they mean to the language', async () => {
    const { server, session } = await open({ status: { properties: { a: 1 } } });
    const words = (text) => ({ properties: JSON.parse(text) });
    const adding = outcome(session.patch(words('{"__proto__": {"token": "t"}, "constructor": 2}')));
    const { t, status } = await server.one();
    assert.deepEqual([t, Object.entries(status.properties)], ['set', [['a', 1], ['__proto__', { token: 't' }], ['constructor', 2]]]);
    await server.say({ t: 'ok', id: 1 });
    assert.equal(await adding, 'ok');
    session.patch(words('{"__proto__": null, "a": null}'));
    assert.deepEqual((await server.one()).status, { properties: { constructor: 2 } });
  });

  test('that were on their way when the link was lost are said again', async () => {
    const { server, clock, session } = await open();
    const setting = outcome(session.set({ show: 'busy' }));
    const watching = outcome(session.watch('bob'));
    assert.equal((await server.one()).t, 'set', 'one after the other');
    await server.drop();
    await clock.pass(1000);
    const hello = await server.welcome();
    assert.deepEqual([hello.status, hello.watch], [{ show: 'busy' }, undefined]);
    assert.equal(await setting, 'ok');
    const again = await server.one();
    assert.deepEqual([again.t, again.users], ['watch', ['bob']]);
    await server.say({ t: 'ok', id: again.id });
    assert.equal(await watching, 'ok');
  });

  test('that are refused change nothing', async () => {
    const { server, session } = await open({ status: { show: 'away' } });
    const setting = session.set({ show: 'busy', text: 'x'.repeat(9999) });
    let then;
    setting.catch(() => (then = session.getSnapshot().status));
    await server.say({ t: 'error', id: (await server.one()).id, reason: 'FIELD_INVALID', message: 'too long', fields: [{ path: 'status.text', message: 'too long' }] });
    await assert.rejects(setting, { name: 'PresenceError', reason: 'FIELD_INVALID', fields: [{ path: 'status.text', message: 'too long' }] });
    assert.deepEqual(then, { show: 'away' }, 'whoever waited sees it at once');
  });

  test('that are refused in a hello do not keep the session from coming back', async () => {
    const { server, clock, session } = await open({ status: { show: 'away' } });
    await server.drop();
    const setting = outcome(session.set({ text: 'x'.repeat(9999) }));
    await clock.pass(1000);
    await server.one();
    await server.say({ t: 'bye', reason: 'FIELD_INVALID' });
    assert.equal(await setting, 'FIELD_INVALID');
    await clock.pass(0);
    assert.deepEqual((await server.welcome()).status, { show: 'away' });
  });

  test('that cannot be met now are asked for again', async () => {
    const { server, clock, session } = await open();
    const watching = outcome(session.watchFriends());
    const first = await server.one();
    assert.deepEqual(first, { t: 'watch', friends: true, id: 1 });
    await server.say({ t: 'error', id: 1, reason: 'FRIENDS_UNAVAILABLE', message: 'the list cannot be read now' });
    assert.equal(session.getSnapshot().friendsError.reason, 'FRIENDS_UNAVAILABLE');
    const setting = outcome(session.set({ show: 'busy' }));
    const other = await server.one();
    assert.equal(other.t, 'set', 'the others need not wait');
    await server.say({ t: 'error', id: other.id, reason: 'RATE_LIMITED', retry_after: 100 });
    await clock.pass(100);
    const again = await server.one();
    assert.equal(again.t, 'set');
    await server.say({ t: 'ok', id: again.id });
    assert.equal(await setting, 'ok');
    await clock.pass(700);
    await server.say({ t: 'ok', id: (await server.one()).id, friends: 2 });
    assert.equal(await watching, 'ok');
    assert.equal(session.getSnapshot().friendsError, undefined);
  });

  test('of a hello that cannot be met are no end, and are asked for again', async () => {
    const { server, clock, session } = await open({ watch: ['bob'], friends: true });
    await server.say({ t: 'error', part: 'friends', reason: 'FRIENDS_UNAVAILABLE', message: 'the list cannot be read now' });
    await server.say({ t: 'error', part: 'watch', reason: 'LIMIT_SUBSCRIPTIONS', message: 'too many' });
    assert.equal(session.getSnapshot().friendsError.reason, 'FRIENDS_UNAVAILABLE');
    const watch = await server.one();
    assert.deepEqual([watch.t, watch.users], ['watch', ['bob']]);
    await server.say({ t: 'ok', id: watch.id });
    await clock.pass(750);
    const friends = await server.one();
    assert.deepEqual([friends.t, friends.friends], ['watch', true]);
    await server.say({ t: 'ok', id: friends.id, already: true });
    assert.equal(session.getSnapshot().friendsError, undefined);
  });

  test('for users of a hello whom the server refuses are told so', async () => {
    const b = begin({ watch: ['bob', 'carol'] });
    b.session.open();
    await b.server.welcome({ rejected: ['carol'] });
    assert.deepEqual([b.session.getSnapshot().watchError.reason, b.session.getSnapshot().watchError.fields], ['WATCH_REJECTED', [{ path: 'carol', message: 'not watched' }]]);
    await b.server.say({ t: 'error', part: 'watch', reason: 'LIMIT_SUBSCRIPTIONS', message: 'too many' });
    const watch = await b.server.one();
    assert.deepEqual(watch.users, ['bob']);
    await b.server.say({ t: 'error', id: watch.id, reason: 'LIMIT_SUBSCRIPTIONS', message: 'too many' });
    assert.deepEqual([b.session.getSnapshot().watchError.reason, b.session.getSnapshot().watchError.fields], ['LIMIT_SUBSCRIPTIONS', [{ path: 'bob', message: 'not watched' }]]);
    assert.deepEqual(await b.server.read(), []);
  });

  test('for friends that the app does not have are told so', async () => {
    const { server, clock, session } = await open({ friends: true });
    await server.say({ t: 'error', part: 'friends', reason: 'LIMIT_FRIENDS', message: 'the list is too long' });
    assert.equal(session.getSnapshot().friendsError.reason, 'LIMIT_FRIENDS');
    await clock.pass(10_000);
    assert.deepEqual(await server.read(), []);
    assert.equal(session.getSnapshot().link, 'up');
  });

  test('for many users go in parts, and the refused are named', async () => {
    const { server, session } = await open();
    const watching = session.watch('a', 'b', 'c', 'd', 'e');
    const other = outcome(session.watch('e', 'f'));
    assert.deepEqual((await server.one()).users, ['a', 'b', 'c']);
    await server.say({ t: 'ok', id: 1, rejected: ['b'] });
    assert.deepEqual((await server.one()).users, ['d', 'e']);
    await server.say({ t: 'ok', id: 2 });
    await assert.rejects(watching, { reason: 'WATCH_REJECTED', fields: [{ path: 'b', message: 'not watched' }] });
    assert.deepEqual((await server.one()).users, ['f'], 'one at a time, and nobody twice');
    await server.say({ t: 'error', id: 3, reason: 'LIMIT_SUBSCRIPTIONS' });
    assert.equal(await other, 'LIMIT_SUBSCRIPTIONS');
    await session.watch('a', 'e');
    assert.deepEqual(await server.read(), []);
  });

  test('that are taken back before they were told', async () => {
    const { server, clock, session } = await open();
    await server.drop();
    const watching = outcome(session.watch('a', 'b'));
    const friends = outcome(session.watchFriends());
    session.unwatch('a', 'b');
    session.unwatchFriends();
    assert.deepEqual(await Promise.all([watching, friends]), ['ok', 'ok']);
    await clock.pass(1000);
    const hello = await server.welcome();
    assert.deepEqual([hello.watch, hello.friends], [undefined, undefined]);
  });

  test('that change before there is a session', async () => {
    const { server, session } = begin({ watch: ['bob'] });
    session.unwatch('bob');
    const watching = outcome(session.watch('bob'));
    session.open();
    assert.equal((await server.welcome()).watch, undefined);
    const only = await server.one();
    assert.deepEqual([only.t, only.users], ['watch', ['bob']]);
    await server.say({ t: 'ok', id: only.id });
    assert.equal(await watching, 'ok');
    assert.deepEqual(await server.read(), []);
  });

  test('to watch again whom the server may still watch are told after the end of that', async () => {
    const { server, clock, session } = await open({ watch: ['bob'] });
    await server.drop();
    session.unwatch('bob');
    const watching = outcome(session.watch('bob'));
    await clock.pass(1000);
    assert.equal((await server.welcome()).watch, undefined);
    const first = await server.one();
    assert.deepEqual([first.t, first.users], ['unwatch', ['bob']]);
    await server.say({ t: 'ok', id: first.id });
    const second = await server.one();
    assert.deepEqual([second.t, second.users], ['watch', ['bob']]);
    await server.say({ t: 'ok', id: second.id });
    assert.equal(await watching, 'ok');
  });

  test('of a status that nobody here knows are patches', async () => {
    const { server, session } = await open({ resume: 'made elsewhere' });
    assert.equal(session.getSnapshot().status, undefined);
    const results = [session.patch({ show: 'busy', text: null, properties: { a: 1, b: null } }), session.patch({ invisible: true })].map(outcome);
    assert.deepEqual(await server.one(), { t: 'patch', id: 1, status: { show: 'busy', properties: { a: 1 } }, clear: ['b'], clear_text: true });
    await server.say({ t: 'ok', id: 1 });
    assert.deepEqual(await server.one(), { t: 'patch', id: 2, status: { show: 'busy', properties: { a: 1 }, invisible: true }, clear: ['b'], clear_text: true });
    await server.say({ t: 'ok', id: 2 });
    assert.deepEqual(await Promise.all(results), ['ok', 'ok']);
  });

  test('an answer that does not come is a loss', async () => {
    const { server, clock, session } = await open();
    session.set({ show: 'busy' }).catch(() => {});
    await server.one();
    for (let i = 0; i < 14; i++) {
      await clock.pass(1000);
      await server.say({ t: 'pong' });
    }
    assert.equal(session.getSnapshot().link, 'up');
    await clock.pass(1000);
    assert.equal(session.getSnapshot().link, 'down');
  });
});

describe('get', () => {
  test('asks once, in parts', async () => {
    const { server, session } = await open();
    const asking = session.get(['a', 'b', 'c', 'd'], { sessions: true, locale: 'pt' });
    assert.deepEqual(await server.one(), { t: 'get', users: ['a', 'b', 'c'], sessions: true, locale: 'pt', id: 1 });
    await server.say({ t: 'ok', id: 1, users: [{ u: 'a', on: true, sessions: [wire('a1')] }, { u: 'b', on: false, seen: 5 }, { u: 'c', unknown: true, stale: 7 }] });
    await server.say({ t: 'ok', id: (await server.one()).id, users: [{ u: 'd', on: false }] });
    const users = await asking;
    assert.deepEqual([...users.keys()], ['a', 'b', 'c', 'd']);
    assert.deepEqual(users.get('b'), { user: 'b', available: false, lastSeen: 5, sessions: [], unknown: false });
    assert.equal(users.get('a').sessions[0].id, 'a1');
    assert.equal(users.get('c').unknown, true);
    assert.equal(users.get('c').staleSince, 7);
  });

  test('fails at once while the link is down, or is lost', async () => {
    const { server, session } = await open();
    const asking = outcome(session.get(['a']));
    await server.drop();
    assert.equal(await asking, 'LINK_DOWN');
    assert.equal(await outcome(session.get(['a'])), 'LINK_DOWN');
  });
});

describe('the end', () => {
  for (const mode of ['leave', 'logout']) {
    test(`${mode} says goodbye and waits for the answer`, async () => {
      const { server, clock, session, page } = await open();
      const leaving = session[mode]();
      assert.deepEqual(await server.one(), { t: 'bye', mode });
      assert.equal(session.getSnapshot().link, 'up');
      await server.say({ t: 'bye', reason: 'SESSION_CLOSED', kept: false });
      await leaving;
      assert.equal(session.getSnapshot().link, 'over');
      assert.equal((await session.over).reason, 'CLOSED');
      assert.deepEqual([clock.timers, page.listeners], [0, 0]);
      await session[mode]();
    });
  }

  test('leave while the link is down connects to say so', async () => {
    const { server, session } = await open();
    await server.drop();
    const leaving = session.leave();
    await server.welcome();
    assert.deepEqual(await server.one(), { t: 'bye', mode: 'leave' });
    await server.say({ t: 'bye', reason: 'SESSION_CLOSED' });
    await leaving;
  });

  test('leave of a session that never was', async () => {
    const { server, clock, session } = begin();
    server.refuse = true;
    const opening = outcome(session.open());
    await settled();
    await clock.pass(100);
    await session.leave();
    assert.equal(await opening, 'CLOSED');
    assert.equal(clock.timers, 0);
  });

  test('leave while the first connection is made says so on it', async () => {
    const { server, session } = begin();
    session.open().catch(() => {});
    await settled();
    const leaving = session.logout();
    await server.welcome();
    assert.deepEqual(await server.one(), { t: 'bye', mode: 'logout' });
    await server.say({ t: 'bye', reason: 'SESSION_CLOSED', why: 'CLIENT' });
    await leaving;
  });

  test('a link that is lost under a goodbye leaves it unsaid', async () => {
    const { server, session } = await open();
    const leaving = outcome(session.leave());
    await server.drop();
    assert.equal(await leaving, 'LINK_DOWN');
    assert.equal(session.getSnapshot().link, 'over');
  });

  test('leave gives up when the server cannot be reached', async () => {
    const { server, clock, session } = await open();
    server.refuse = true;
    await server.drop();
    const leaving = outcome(session.leave());
    await clock.pass(5000);
    assert.equal(await leaving, 'LINK_DOWN');
    assert.equal(session.getSnapshot().link, 'over');
    assert.equal(clock.timers, 0);
  });

  test('close lets go at once, and wishes are told so', async () => {
    const { server, clock, session } = await open();
    await server.drop();
    const setting = outcome(session.set({ show: 'busy' }));
    session.close();
    session.close();
    assert.equal(await setting, 'CLOSED');
    await clock.pass(60_000);
    assert.deepEqual([server.sockets.length, clock.timers], [1, 0]);
  });

  test('close before anything', async () => {
    const { server, session } = begin();
    session.close();
    assert.equal(await outcome(session.open()), 'CLOSED');
    assert.equal(server.sockets.length, 0);
  });

  test('close while a token is fetched connects nowhere', async () => {
    const { server, session } = begin();
    const opening = outcome(session.open());
    session.close();
    assert.equal(await opening, 'CLOSED');
    await settled();
    assert.equal(server.sockets.length, 0);
  });
});
