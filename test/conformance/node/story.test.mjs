// The life of a session as the IsOnline document tells it, from make to close.

import { after, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { Device, hangUp, online, someone } from './device.mjs';

after(hangUp);

/** A call of the product's own servers, which keep the lists. */
async function backend(method, path, body) {
  const answer = await fetch(`http://${process.env.PORCHLIGHT_HTTP}/api/v1/users/${path}`, {
    method,
    headers: {
      authorization: 'Bearer porchlight development server key, known to everyone, loopback only',
      ...(body && { 'content-type': 'application/json' }),
    },
    body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.text()}`);
}

const seconds = (timestamp) => Number(timestamp?.seconds ?? 0);

describe('story', { concurrency: true, timeout: 60_000 }, () => {
  test('make tells what a device needs to know', async () => {
    const { made } = await new Device(someone('make')).make();
    assert.match(made.session_id, /^[\w-]{22}$/);
    assert.ok(made.session_token.length > 40, 'a session token is long');
    assert.ok(seconds(made.connect_before) > Date.now() / 1000, 'connect_before lies ahead');
    assert.ok(Number(made.heartbeat_interval.seconds) > 0, 'heartbeat_interval');
    assert.ok(Number(made.grace.seconds) > 0, 'grace');
    assert.equal(made.limits.max_batch, 200);
    assert.equal(made.limits.max_subscriptions, 2000);
  });

  test('case 1: the target is online with two sessions', async () => {
    const target = someone('target');
    const first = await online(target, { client: { platform: 'ios' }, initial: { status: 'IS_ONLINE_STATUS_BUSY' } });
    const second = await online(target, { client: { platform: 'web' } });
    const watcher = await online(someone('watcher'));

    assert.deepEqual(await watcher.subscribe(target), { already_subscribed: false });
    const snapshot = await watcher.stream.snapshot(target);
    assert.equal(snapshot.length, 2, 'one notification for each session');
    const byId = new Map(snapshot.map((n) => [n.session.session_id, n]));
    const busy = byId.get(first.made.session_id);
    const plain = byId.get(second.made.session_id);
    for (const n of snapshot) {
      assert.equal(n.user_flag, 'USER_FLAG_ONLINE');
      assert.equal(n.session.kind, 'SESSION_EVENT_KIND_CURRENT');
    }
    assert.equal(busy.session.status, 'IS_ONLINE_STATUS_BUSY');
    assert.equal(busy.session.platform, 'ios');
    assert.equal(plain.session.status, 'IS_ONLINE_STATUS_ONLINE', 'no initial status means online');
    assert.equal(plain.session.platform, 'web');
    assert.deepEqual(await watcher.subscribe(target), { already_subscribed: true });
  });

  test('case 2: the target is offline', async () => {
    const watcher = await online(someone('watcher'));
    const stranger = someone('stranger');
    await watcher.subscribe(stranger);
    const [never] = await watcher.stream.snapshot(stranger);
    assert.equal(never.user_flag, 'USER_FLAG_OFFLINE');
    assert.equal(never.session, null);
    assert.equal(never.last_seen, null, 'never seen');

    const target = someone('target');
    const before = Math.floor(Date.now() / 1000);
    await (await online(target)).close();
    await watcher.subscribe(target);
    const snapshot = await watcher.stream.snapshot(target);
    assert.equal(snapshot.length, 1);
    assert.equal(snapshot[0].user_flag, 'USER_FLAG_OFFLINE');
    assert.equal(snapshot[0].session, null);
    assert.ok(seconds(snapshot[0].last_seen) >= before, 'last seen just now');
  });

  test('subscribing before connecting', async () => {
    const target = someone('target');
    await online(target);
    const watcher = await new Device(someone('watcher')).make();
    await watcher.subscribe(target);
    await watcher.connect();
    const snapshot = await watcher.stream.snapshot(target);
    assert.equal(snapshot.length, 1);
    assert.equal(snapshot[0].session.kind, 'SESSION_EVENT_KIND_CURRENT');
  });

  test('subscribing to several users at once', async () => {
    const [a, b] = [someone('a'), someone('b')];
    const watcher = await online(someone('watcher'));
    await watcher.subscribe(b);
    await watcher.stream.snapshot(b);
    const answer = await watcher.on('SubscribeToUsersIsOnline', { user_ids: [a, b] });
    assert.deepEqual(answer, { already_subscribed: [b], rejected: [] });
    await online(a);
    for (;;) {
      const event = await nextNotificationOf(watcher, a);
      if (event.user_flag === 'USER_FLAG_ONLINE') break;
    }
  });

  test('a watcher sees opening, updating and closing, device by device', async () => {
    const target = someone('target');
    const watcher = await online(someone('watcher'));
    await watcher.subscribe(target);
    await watcher.stream.snapshot(target);

    const phone = await online(target, { client: { platform: 'android' } });
    let n = await watcher.stream.next('notification');
    assert.equal(n.session.kind, 'SESSION_EVENT_KIND_OPENED');
    assert.equal(n.user_flag, 'USER_FLAG_ONLINE');
    assert.equal(n.session.session_id, phone.made.session_id, 'watchers see the public id');

    const laptop = await online(target, { client: { platform: 'web' } });
    n = await watcher.stream.next('notification');
    assert.equal(n.session.kind, 'SESSION_EVENT_KIND_OPENED');
    assert.equal(n.session.session_id, laptop.made.session_id);

    await phone.update({ status: 'IS_ONLINE_STATUS_AWAY' });
    n = await watcher.stream.next('notification');
    assert.equal(n.session.kind, 'SESSION_EVENT_KIND_UPDATED');
    assert.equal(n.session.status, 'IS_ONLINE_STATUS_AWAY');
    assert.equal(n.session.session_id, phone.made.session_id);

    await phone.close('CLOSE_MODE_LEAVE');
    n = await watcher.stream.next('notification');
    assert.equal(n.session.kind, 'SESSION_EVENT_KIND_CLOSED');
    assert.equal(n.session.close_reason, 'CLOSE_REASON_CLIENT');
    assert.equal(n.user_flag, 'USER_FLAG_ONLINE', 'the laptop is still there');

    await laptop.close();
    n = await watcher.stream.next('notification');
    assert.equal(n.session.kind, 'SESSION_EVENT_KIND_CLOSED');
    assert.equal(n.user_flag, 'USER_FLAG_OFFLINE');
    assert.ok(seconds(n.last_seen) > 0, 'last seen is told with the last close');
  });

  test('an update replaces, a partial update merges', async () => {
    const target = someone('target');
    const device = await online(target);
    const watcher = await online(someone('watcher'));
    await watcher.subscribe(target);
    await watcher.stream.snapshot(target);

    const update = {
      status: 'IS_ONLINE_STATUS_BUSY',
      rich_text: { literal: 'In a match – 3:2 ⚽' },
      properties: { map: { text: 'harbour' }, round: { integer: 3 }, ratio: { number: 0.5 }, joinable: { flag: true } },
    };
    const stored = await device.update(update);
    assert.equal(stored.unchanged, false);
    assert.ok(seconds(stored.stored_at) > 0);
    let { session } = await watcher.stream.next('notification');
    assert.equal(session.status, 'IS_ONLINE_STATUS_BUSY');
    assert.equal(session.rich_text, 'In a match – 3:2 ⚽');
    assert.equal(session.revision, stored.revision);
    assert.equal(session.properties.map.text, 'harbour');
    assert.equal(session.properties.round.integer, 3);
    assert.equal(session.properties.ratio.number, 0.5);
    assert.equal(session.properties.joinable.flag, true);

    assert.equal((await device.update(update)).unchanged, true, 'the same again is no change');

    const merged = await device.on('PartialUpdateIsOnlineSession', {
      update: { properties: { round: { integer: 4 } } },
      clear_properties: ['ratio'],
      clear_rich_text: true,
    });
    assert.ok(merged.revision > stored.revision, 'revisions grow');
    ({ session } = await watcher.stream.next('notification'));
    assert.equal(session.status, 'IS_ONLINE_STATUS_BUSY', 'a status that is not named stays');
    assert.equal(session.rich_text, '');
    assert.deepEqual(Object.keys(session.properties).sort(), ['joinable', 'map', 'round']);
    assert.equal(session.properties.round.integer, 4);

    await device.update({ status: 'IS_ONLINE_STATUS_ONLINE' });
    ({ session } = await watcher.stream.next('notification'));
    assert.deepEqual(session.properties, {}, 'a full update leaves nothing of the old one');
  });

  test('one who appears offline looks like one who left', async () => {
    const target = someone('target');
    const device = await online(target);
    const watcher = await online(someone('watcher'));
    await watcher.subscribe(target);
    await watcher.stream.snapshot(target);

    await device.on('PartialUpdateIsOnlineSession', { appear_offline: true });
    let n = await watcher.stream.next('notification');
    assert.equal(n.session.kind, 'SESSION_EVENT_KIND_CLOSED');
    assert.equal(n.session.close_reason, 'CLOSE_REASON_CLIENT');
    assert.equal(n.user_flag, 'USER_FLAG_OFFLINE');
    const { user } = await watcher.call('GetUserIsOnline', { user_id: target, detail: 'DETAIL_SESSIONS' });
    assert.equal(user.user_flag, 'USER_FLAG_OFFLINE');
    assert.deepEqual(user.sessions, []);

    await device.on('PartialUpdateIsOnlineSession', { appear_offline: false });
    n = await watcher.stream.next('notification');
    assert.equal(n.session.kind, 'SESSION_EVENT_KIND_OPENED');
    assert.equal(n.user_flag, 'USER_FLAG_ONLINE');
  });

  test('own sessions see each other', async () => {
    const user = someone('self');
    const first = await online(user);
    await first.subscribe(user);
    await first.stream.snapshot(user);
    const second = await online(user, { initial: { appear_offline: true } });
    const n = await first.stream.next('notification');
    assert.equal(n.session.session_id, second.made.session_id, 'even one that appears offline');
  });

  test('unsubscribing ends it', async () => {
    const [target, fence] = [someone('target'), someone('fence')];
    const device = await online(target);
    const watcher = await online(someone('watcher'));
    await watcher.subscribe(target);
    await watcher.stream.snapshot(target);
    assert.equal((await watcher.on('UnsubscribeFromUserIsOnline', { user_id: target })).was_subscribed, true);
    const ended = await watcher.stream.next('subscription_ended');
    assert.deepEqual(ended, { user_id: target, reason: 'UNSUBSCRIBED' });
    assert.equal((await watcher.on('UnsubscribeFromUserIsOnline', { user_id: target })).was_subscribed, false);

    await device.update({ status: 'IS_ONLINE_STATUS_BUSY' });
    await watcher.subscribe(fence); // what comes next is about the fence: nothing of the target came between
    assert.equal((await watcher.stream.snapshot(fence)).length, 1);
  });

  test('friends: the whole list in one call, and its changes', async () => {
    const [user, here, gone, late] = ['user', 'here', 'gone', 'late'].map(someone);
    await online(here);
    await backend('PUT', `${user}/friends`, { friends: [here, gone] });
    const device = await new Device(user).make();
    assert.deepEqual(await device.on('SubscribeToFriendsIsOnline'), { friends: 2, already_subscribed: false });
    await device.connect();
    const told = [await device.stream.next('notification'), await device.stream.next('notification')];
    assert.deepEqual(told.map((n) => [n.user_id, n.user_flag]).sort(), [[gone, 'USER_FLAG_OFFLINE'], [here, 'USER_FLAG_ONLINE']]);
    const done = await device.stream.next('snapshot_done');
    assert.deepEqual([done.scope, done.users], ['friends', 2]);

    await backend('PUT', `${user}/friends/${late}`);
    assert.equal((await device.stream.next('notification')).user_id, late);
    await backend('DELETE', `${user}/friends/${here}`);
    assert.deepEqual(await device.stream.next('subscription_ended'), { user_id: here, reason: 'NO_LONGER_FRIEND' });
    assert.equal((await device.on('UnsubscribeFromFriendsIsOnline')).was_subscribed, true);
    assert.equal((await device.stream.next('subscription_ended')).reason, 'UNSUBSCRIBED');
  });

  test('one who blocks the watcher looks like one who left', async () => {
    const [user, blocker, leaver] = ['user', 'blocker', 'leaver'].map(someone);
    const devices = { [blocker]: await online(blocker), [leaver]: await online(leaver) };
    const watcher = await online(user);
    const heard = [];
    for (const target of [blocker, leaver]) {
      await watcher.subscribe(target);
      await watcher.stream.snapshot(target);
      if (target === blocker) await backend('PUT', `${blocker}/blocks/${user}`);
      else await devices[leaver].close('CLOSE_MODE_LEAVE');
      const n = await watcher.stream.next('notification');
      heard.push([n.user_flag, n.session.kind, n.session.close_reason, seconds(n.last_seen) > 0, n.session.status]);
    }
    assert.deepEqual(heard[0], heard[1]);
    await devices[blocker].update({ status: 'IS_ONLINE_STATUS_BUSY' }); // behind the block: what comes next is the end of it
    await backend('DELETE', `${blocker}/blocks/${user}`);
    const back = await watcher.stream.next('notification');
    assert.deepEqual([back.user_id, back.session.kind], [blocker, 'SESSION_EVENT_KIND_OPENED']);
  });

  test('closing ends the stream with OK, and only closing does', async () => {
    const device = await online(someone('closer'));
    assert.ok(seconds((await device.close('CLOSE_MODE_LOGOUT')).closed_at) > 0);
    const closing = await device.stream.next('closing');
    assert.equal(closing.reason, 'CLOSING_REASON_SESSION_CLOSED');
    assert.equal(closing.session_kept, false);
    assert.equal(closing.session_close_reason, 'CLOSE_REASON_CLIENT');
    assert.equal((await device.stream.ended).code, 0);
    await device.close(); // twice is no error
  });

  test('asking once, without a session', async () => {
    const [busy, gone, never] = [someone('busy'), someone('gone'), someone('never')];
    const device = await online(busy, { initial: { status: 'IS_ONLINE_STATUS_BUSY' } });
    await (await online(gone)).close();
    const asker = new Device(someone('asker'));

    const { user } = await asker.call('GetUserIsOnline', { user_id: busy, detail: 'DETAIL_SESSIONS' });
    assert.equal(user.user_flag, 'USER_FLAG_ONLINE');
    assert.equal(user.sessions.length, 1);
    assert.equal(user.sessions[0].session_id, device.made.session_id);
    assert.equal(user.sessions[0].status, 'IS_ONLINE_STATUS_BUSY');

    const { users } = await asker.call('BatchGetUserIsOnline', { user_ids: [never, busy, gone, busy], detail: 'DETAIL_USER' });
    assert.deepEqual(users.map((u) => u.user_id), [never, busy, gone, busy], 'in the order of the request');
    assert.deepEqual(users.map((u) => u.user_flag === 'USER_FLAG_ONLINE'), [false, true, false, true]);
    assert.equal(users[0].last_seen, null);
    assert.ok(seconds(users[2].last_seen) > 0);
    assert.deepEqual(users[1].sessions, [], 'DETAIL_USER carries no sessions');
  });

  test('heartbeat', async () => {
    const device = await online(someone('heart'));
    const beat = await device.on('HeartbeatIsOnlineSession');
    assert.equal(beat.stream_attached, true);
    assert.ok(Number(beat.next_within.seconds) > 0);
    assert.ok(seconds(beat.server_time) > 0);
  });
});

/** The next notification of one user, leaving out the ends of snapshots. */
async function nextNotificationOf(watcher, user) {
  for (;;) {
    if (watcher.stream.events.length === 0) await watcher.stream.more('notification');
    const event = watcher.stream.events.shift();
    if (event.event === 'notification' && event.notification.user_id === user) return event.notification;
  }
}
