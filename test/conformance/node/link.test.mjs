// Links that break, are replaced, or just stay quiet.

import { after, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import grpc from '@grpc/grpc-js';
import { Device, dial, explain, hangUp, online, someone } from './device.mjs';

after(hangUp);

// A server ends a connection at the fourth ping that comes too soon, unless it
// sent something in between. Ours allows 5 s; grpc-go's own default is 5 min.
const pingEvery = process.env.PORCHLIGHT_LONG ? 10_000 : 5_500;

describe('link', { concurrency: true, timeout: 120_000 }, () => {
  test('back within the grace: nobody sees a thing', async () => {
    const target = someone('target');
    const device = await online(target, { initial: { status: 'IS_ONLINE_STATUS_BUSY' } });
    const friend = someone('friend');
    await device.subscribe(friend);
    await device.stream.snapshot(friend);
    const watcher = await online(someone('watcher'));
    await watcher.subscribe(target);
    await watcher.stream.snapshot(target);

    const last = device.stream.sequence;
    await device.stream.cancel();
    await online(friend); // missed, to be told on the way back
    await device.connect({ resume_after: last });
    assert.equal(device.connected.resumed, true);
    assert.equal(device.connected.resync, false);
    const missed = await device.stream.next('notification');
    assert.equal(missed.user_id, friend);
    assert.equal(missed.user_flag, 'USER_FLAG_ONLINE');
    assert.ok(device.stream.sequence > last, 'numbers go on');

    await wait(Number(device.made.grace.seconds) * 1000 + 1500); // a grace that was not called off would end here
    await device.update({ status: 'IS_ONLINE_STATUS_AWAY' });
    const n = await watcher.stream.next('notification');
    assert.equal(n.session.kind, 'SESSION_EVENT_KIND_UPDATED', 'the first thing the watcher hears is the update');
    assert.equal(n.session.status, 'IS_ONLINE_STATUS_AWAY');
  });

  test('a lost link is told after the grace, and the session opens anew', async () => {
    const target = someone('target');
    const device = await online(target);
    const watcher = await online(someone('watcher'));
    await watcher.subscribe(target);
    await watcher.stream.snapshot(target);
    await device.stream.cancel();
    const closed = await watcher.stream.next('notification');
    assert.equal(closed.session.kind, 'SESSION_EVENT_KIND_CLOSED');
    assert.equal(closed.session.close_reason, 'CLOSE_REASON_DISCONNECTED');
    assert.equal(closed.user_flag, 'USER_FLAG_OFFLINE');

    await device.connect({ resume_after: device.stream.sequence });
    const opened = await watcher.stream.next('notification');
    assert.equal(opened.session.kind, 'SESSION_EVENT_KIND_OPENED');
    assert.equal(opened.session.session_id, device.made.session_id, 'the same session');
  });

  test('a second stream takes over from the first', async () => {
    const device = await online(someone('twice'));
    const first = device.stream;
    await device.connect({ resume_after: first.sequence });
    const closing = await first.next('closing');
    assert.equal(closing.reason, 'CLOSING_REASON_REPLACED_STREAM');
    assert.equal(closing.session_kept, true);
    const said = explain(await first.ended);
    assert.deepEqual([said.code, said.reason, said.domain], ['ABORTED', 'REPLACED_STREAM', 'isonline']);
    assert.equal((await device.on('HeartbeatIsOnlineSession')).stream_attached, true);
  });

  test('resuming beyond what was sent', async () => {
    const device = await online(someone('future'));
    const last = device.stream.sequence;
    await device.stream.cancel();
    await assert.rejects(device.connect({ resume_after: last + 1000 }));
    const said = explain(await device.stream.ended);
    assert.deepEqual([said.code, said.reason], ['OUT_OF_RANGE', 'RESUME_FROM_FUTURE']);
  });

  test('the same device id replaces the earlier session', async () => {
    const user = someone('phone');
    const first = await online(user, { client: { device_id: 'phone-1' } });
    const second = await online(user, { client: { device_id: 'phone-1' } });
    const closing = await first.stream.next('closing');
    assert.equal(closing.reason, 'CLOSING_REASON_SESSION_CLOSED');
    assert.equal(closing.session_close_reason, 'CLOSE_REASON_SUPERSEDED');
    assert.equal((await second.on('HeartbeatIsOnlineSession')).stream_attached, true);
  });

  test('keepalive pings do not cost the connection', async () => {
    const pinging = {
      'grpc.keepalive_time_ms': pingEvery,
      'grpc.keepalive_timeout_ms': 20_000,
      'grpc.keepalive_permit_without_calls': 1,
    };
    const streaming = await online(someone('quiet'), { stub: dial(pinging) });
    const idle = new Device(someone('idle'), { stub: dial(pinging) });
    await idle.call('GetUserIsOnline', { user_id: 'anyone' });
    await Promise.all([stays(streaming.stub, pingEvery * 4.6), stays(idle.stub, pingEvery * 4.6)]);
    assert.equal(streaming.stream.status, undefined, 'the stream is still open');
    assert.equal((await streaming.on('HeartbeatIsOnlineSession')).stream_attached, true);
  });
});

/** Resolves when a connection stayed up for a time, and rejects when it went. */
function stays(stub, milliseconds) {
  const { READY } = grpc.connectivityState;
  const channel = stub.getChannel();
  assert.equal(channel.getConnectivityState(false), READY);
  return new Promise((resolve, reject) => {
    channel.watchConnectivityState(READY, Date.now() + milliseconds, (timedOut) => {
      if (timedOut) resolve();
      else reject(new Error(`the connection went: ${channel.getConnectivityState(false)}`));
    });
  });
}
