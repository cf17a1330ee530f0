// RongCloud's and Tencent's own packages for Node, unmodified, at a real server:
// only the address is another. The test of Go beside it made the users.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

const require = createRequire(import.meta.url);
const base = `http://${process.env.PORCHLIGHT_HTTP}`;

test('rongcloud-sdk asks who is online', async () => {
  const RongSDK = require('rongcloud-sdk')({ appkey: 'plAppKey01', secret: 'plSecret-7hQ2', api: base });
  const ask = (id) => RongSDK.User.OnlineStatus.get({ id });
  for (let i = 0; i < 3; i++) { // it signs once for all its calls
    assert.deepEqual(await ask('on'), { code: 200, status: '1' });
  }
  assert.deepEqual(await ask('never-seen'), { code: 200, status: '0' });
  assert.deepEqual(await ask('we ird+ü&x=1'), { code: 200, status: '1' });
});

test('rongcloud-sdk understands a refusal', async () => {
  // The package keeps what it was made with for the whole process: a second one
  // of another secret needs a copy of its own.
  for (const name of Object.keys(require.cache)) {
    if (name.includes('rongcloud-sdk')) delete require.cache[name];
  }
  const wrong = require('rongcloud-sdk')({ appkey: 'plAppKey01', secret: 'not the secret', api: base });
  await assert.rejects(async () => {
    const answer = await wrong.User.OnlineStatus.get({ id: 'on' });
    throw Object.assign(new Error('answered'), { answer });
  }, (e) => {
    const answer = e.answer ?? e;
    assert.match(JSON.stringify(answer), /20000|1004/, JSON.stringify(answer));
    return true;
  });
});

test('tls-sig-api-v2 makes UserSigs that are taken', async () => {
  const { Api } = require('tls-sig-api-v2');
  const call = async (path, sig, identifier, body) => {
    const query = new URLSearchParams({ sdkappid: '1400000001', identifier, usersig: sig, random: '7', contenttype: 'json' });
    const response = await fetch(`${base}/v4/${path}?${query}`, { method: 'POST', body: JSON.stringify(body) });
    assert.equal(response.status, 200);
    return response.json();
  };
  const key = 'pl-usersig-key-0000000000000000000000000000000000000000000000000001';
  const api = new Api(1400000001, key);
  const good = api.genUserSig('administrator', 3600);
  assert.deepEqual(await call('openim/query_online_status', good, 'administrator', { To_Account: ['on', 'never-seen'] }), {
    ActionStatus: 'OK', ErrorInfo: '', ErrorCode: 0,
    QueryResult: [{ To_Account: 'on', Status: 'Online' }, { To_Account: 'never-seen', Status: 'Offline' }],
  });
  assert.equal((await call('openim/querystate', good, 'administrator', { To_Account: ['on'] })).QueryResult[0].State, 'Online');
  const code = async (sig, identifier) => (await call('openim/querystate', sig, identifier, { To_Account: ['on'] })).ErrorCode;
  assert.equal(await code(new Api(1400000001, 'another key').genUserSig('administrator', 3600), 'administrator'), 70009);
  assert.equal(await code(new Api(1400000002, key).genUserSig('administrator', 3600), 'administrator'), 70014);
  assert.equal(await code(good, 'bob'), 70013);
  assert.equal(await code(api.genUserSig('administrator', -1), 'administrator'), 70003, 'a life below 0');
  assert.equal(await code(api.genUserSig('bob', 3600), 'bob'), 90009);
});
