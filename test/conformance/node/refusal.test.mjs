// What is refused, with which code, and which reason a program can branch on.

import { after, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { Device, bearer, call, dial, explain, hangUp, online, someone, tokenFor } from './device.mjs';
import grpc from '@grpc/grpc-js';

after(hangUp);

/** Expects a call to fail with a code and reason, and returns the details. */
async function refused(promise, code, reason) {
  const err = await promise.then(
    (answer) => assert.fail(`got ${JSON.stringify(answer)}, want ${code} ${reason}`),
    (e) => e,
  );
  const said = explain(err);
  assert.deepEqual({ code: said.code, reason: said.reason, domain: said.domain }, { code, reason, domain: 'isonline' }, said.message);
  return said;
}

describe('refusals', { concurrency: true, timeout: 60_000 }, () => {
  test('no access token, a broken one, a forged one', async () => {
    const stub = dial();
    const make = (metadata) => call(stub, metadata, 'MakeIsOnlineSession', { client: { platform: 'node' } });
    await refused(make(new grpc.Metadata()), 'UNAUTHENTICATED', 'JWT_INVALID');
    await refused(make(bearer('not.a.token')), 'UNAUTHENTICATED', 'JWT_INVALID');
    const [head, , signature] = tokenFor(someone('mallory')).split('.');
    const claims = Buffer.from(JSON.stringify({ sub: 'alice', exp: Date.now() })).toString('base64url');
    await refused(make(bearer([head, claims, signature].join('.'))), 'UNAUTHENTICATED', 'JWT_INVALID');
    const none = Buffer.from(JSON.stringify({ alg: 'none', typ: 'JWT' })).toString('base64url');
    await refused(make(bearer([none, claims, ''].join('.'))), 'UNAUTHENTICATED', 'JWT_INVALID');
  });

  test('an access token whose time is over', async () => {
    const asker = new Device(someone('late'), { token: tokenFor(someone('late'), '--ttl', '2s') });
    const ask = () => asker.call('GetUserIsOnline', { user_id: 'anyone' });
    await ask();
    for (let tries = 0; tries < 50; tries++) {
      await wait(200);
      const answered = await ask().then(() => true, () => false);
      if (!answered) break;
    }
    await refused(ask(), 'UNAUTHENTICATED', 'JWT_EXPIRED');
  });

  test('session tokens: broken, changed, of another user', async () => {
    const alice = await online(someone('alice'));
    const mallory = await new Device(someone('mallory')).make();
    await refused(mallory.call('HeartbeatIsOnlineSession', { session_token: '' }), 'UNAUTHENTICATED', 'SESSION_TOKEN_INVALID');
    await refused(mallory.call('HeartbeatIsOnlineSession', { session_token: 'AAAA' }), 'UNAUTHENTICATED', 'SESSION_TOKEN_INVALID');
    const middle = Math.floor(mallory.token.length / 2);
    const changed = mallory.token.slice(0, middle) + (mallory.token[middle] === 'A' ? 'B' : 'A') + mallory.token.slice(middle + 1);
    await refused(mallory.call('HeartbeatIsOnlineSession', { session_token: changed }), 'UNAUTHENTICATED', 'SESSION_TOKEN_INVALID');
    for (const method of ['UpdateIsOnlineSession', 'CloseIsOnlineSession', 'SubscribeToUserIsOnline', 'HeartbeatIsOnlineSession']) {
      await refused(mallory.call(method, { session_token: alice.token, user_id: 'x', update: {} }), 'PERMISSION_DENIED', 'SESSION_TOKEN_NOT_YOURS');
    }
    const { user } = await alice.call('GetUserIsOnline', { user_id: alice.user });
    assert.equal(user.user_flag, 'USER_FLAG_ONLINE', 'nothing of it closed the session');
  });

  test('too early and too late', async () => {
    const device = await new Device(someone('timing')).make();
    await refused(device.update({ status: 'IS_ONLINE_STATUS_BUSY' }), 'FAILED_PRECONDITION', 'SESSION_NOT_CONNECTED');
    await refused(device.on('HeartbeatIsOnlineSession'), 'FAILED_PRECONDITION', 'SESSION_NOT_CONNECTED');
    await device.connect();
    await device.close();
    await refused(device.update({ status: 'IS_ONLINE_STATUS_BUSY' }), 'NOT_FOUND', 'SESSION_GONE');
    await refused(device.subscribe('anyone'), 'NOT_FOUND', 'SESSION_GONE');
    await refused(device.on('HeartbeatIsOnlineSession'), 'NOT_FOUND', 'SESSION_GONE');
    await assert.rejects(device.connect());
    const said = explain(await device.stream.ended);
    assert.deepEqual([said.code, said.reason], ['NOT_FOUND', 'SESSION_GONE']);
  });

  test('fields out of bounds are named', async () => {
    const device = await online(someone('bounds'));
    const many = Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, { flag: true }]));
    const cases = [
      ['SubscribeToUserIsOnline', { user_id: '' }],
      ['SubscribeToUserIsOnline', { user_id: 'u'.repeat(129) }],
      ['SubscribeToUserIsOnline', { user_id: 'line\nbreak' }],
      ['GetUserIsOnline', { user_id: '' }],
      ['UpdateIsOnlineSession', { update: { properties: many } }],
      ['UpdateIsOnlineSession', { update: { properties: { ['k'.repeat(65)]: { flag: true } } } }],
      ['UpdateIsOnlineSession', { update: { properties: { k: { text: 'v'.repeat(257) } } } }],
      ['UpdateIsOnlineSession', { update: { rich_text: { literal: 'ä'.repeat(257) } } }],
    ];
    for (const [method, request] of cases) {
      const said = await refused(device.on(method, request), 'INVALID_ARGUMENT', 'FIELD_INVALID');
      assert.ok(said.fields?.length > 0, `${method}: no field named: ${said.message}`);
    }
    await refused(new Device(someone('locale')).make({ locale: 'not a locale' }), 'INVALID_ARGUMENT', 'FIELD_INVALID');
  });

  test('a batch over its limit', async () => {
    const ids = Array.from({ length: 201 }, (_, i) => `u${i}`);
    await refused(new Device(someone('batch')).call('BatchGetUserIsOnline', { user_ids: ids }), 'RESOURCE_EXHAUSTED', 'LIMIT_BATCH');
  });

  test('more sessions than a user may have', async () => {
    const user = someone('many');
    for (let i = 0; i < 16; i++) await new Device(user).make();
    await refused(new Device(user).make(), 'RESOURCE_EXHAUSTED', 'LIMIT_SESSIONS');
  });
});
