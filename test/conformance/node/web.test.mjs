// The HTTP port with the real libraries for Node: @connectrpc/connect-node, and
// @connectrpc/connect-web on Node's fetch.

import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as node from '@connectrpc/connect-node';
import * as web from '@connectrpc/connect-web';
import { someone, tokenFor } from './device.mjs';
import { api, explain, Heard, WebDevice } from './web.mjs';

const baseUrl = `http://${process.env.PORCHLIGHT_HTTP}`;
const isonline = api(readFileSync(process.env.PORCHLIGHT_DESCRIPTORS));

const transports = {
  'connect-web, Connect': web.createConnectTransport({ baseUrl }),
  'connect-web, Connect, binary': web.createConnectTransport({ baseUrl, useBinaryFormat: true }),
  'connect-web, gRPC-Web': web.createGrpcWebTransport({ baseUrl }),
  'connect-web, gRPC-Web, JSON': web.createGrpcWebTransport({ baseUrl, useBinaryFormat: false }),
  'connect-node, Connect, HTTP 1.1': node.createConnectTransport({ baseUrl, httpVersion: '1.1' }),
  'connect-node, Connect, HTTP 2, JSON': node.createConnectTransport({ baseUrl, httpVersion: '2', useBinaryFormat: false }),
  'connect-node, gRPC-Web, HTTP 2': node.createGrpcWebTransport({ baseUrl, httpVersion: '2' }),
  'connect-node, gRPC': node.createGrpcTransport({ baseUrl }),
};

const ONLINE = 2;
const OFFLINE = 1;
const KIND = { current: 1, opened: 2, updated: 3, closed: 4 };

describe('HTTP port', { concurrency: true, timeout: 60_000 }, () => {
  for (const [name, transport] of Object.entries(transports)) {
    test(`${name}: a friend comes, changes and goes`, async () => {
      const friend = someone('friend');
      const device = await new WebDevice(isonline, transport, tokenFor(someone('page'))).make();
      assert.equal(device.made.sessionId.length, 22);
      const heard = new Heard();
      const ended = device.connect(heard.hear, { initial: { status: 2 } });
      const connected = await heard.next('connected');
      assert.equal(connected.sessionId, device.made.sessionId);

      await device.on('subscribeToUserIsOnline', { userId: friend });
      const offline = await heard.next('notification');
      assert.equal(offline.userId, friend);
      assert.equal(offline.userFlag, OFFLINE);
      assert.equal(offline.session, undefined);
      await heard.next('snapshotDone');

      const other = await new WebDevice(isonline, transport, tokenFor(friend)).make('phone');
      const there = new Heard();
      const otherEnded = other.connect(there.hear, { initial: { richText: { kind: { case: 'literal', value: 'hello' } } } });
      await there.next('connected');
      const opened = await heard.next('notification');
      assert.equal(opened.userFlag, ONLINE);
      assert.equal(opened.session.kind, KIND.opened);
      assert.equal(opened.session.platform, 'phone');
      assert.equal(opened.session.richText, 'hello');

      await other.on('updateIsOnlineSession', { update: { status: 3, properties: { room: { kind: { case: 'integer', value: 7n } } } } });
      const updated = await heard.next('notification');
      assert.equal(updated.session.kind, KIND.updated);
      assert.equal(updated.session.properties.room.kind.value, 7n);

      await other.on('closeIsOnlineSession');
      const closed = await heard.next('notification');
      assert.equal(closed.session.kind, KIND.closed);
      assert.equal(closed.userFlag, OFFLINE);
      assert.ok(closed.lastSeen);
      assert.deepEqual(await otherEnded, { code: 'OK' }, 'only the own close ends with OK');
      assert.equal((await there.next('closing')).reason, 2);

      const { user } = await device.client.getUserIsOnline({ userId: friend }, device.options);
      assert.equal(user.userFlag, OFFLINE);

      const heart = await device.on('heartbeatIsOnlineSession');
      assert.equal(heart.streamAttached, true);

      const second = new Heard();
      const secondEnded = device.connect(second.hear); // takes over
      assert.equal((await second.next('connected')).resumed, true);
      assert.equal((await heard.next('closing')).sessionKept, true);
      const end = await ended;
      assert.equal(`${end.code} ${end.reason}`, 'Aborted REPLACED_STREAM');
      await device.on('closeIsOnlineSession');
      assert.deepEqual(await secondEnded, { code: 'OK' });
    });

    test(`${name}: refusals say why`, async () => {
      const device = new WebDevice(isonline, transport, tokenFor(someone('page')));
      const refused = async (call) => {
        try {
          await call();
        } catch (err) {
          return explain(isonline, err);
        }
        return 'nothing was refused';
      };
      const field = await refused(() => device.client.getUserIsOnline({ userId: '' }, device.options));
      assert.deepEqual([field.code, field.reason, field.domain, field.fields], ['InvalidArgument', 'FIELD_INVALID', 'isonline', ['user_id']]);
      const anonymous = await refused(() => device.client.getUserIsOnline({ userId: 'bob' }));
      assert.deepEqual([anonymous.code, anonymous.reason], ['Unauthenticated', 'JWT_INVALID']);
      device.sessionToken = 'nonsense';
      const token = await refused(() => device.on('heartbeatIsOnlineSession'));
      assert.deepEqual([token.code, token.reason], ['Unauthenticated', 'SESSION_TOKEN_INVALID']);
      const end = await device.connect(() => {});
      assert.deepEqual([end.code, end.reason], ['Unauthenticated', 'SESSION_TOKEN_INVALID']);
    });
  }
});
