// What an app's backend does with a client that was generated from the server's
// own description. Lines with @ts-expect-error must be wrong for the compiler.
import assert from 'node:assert/strict';
import createClient from 'openapi-fetch';
import type { components, paths } from './schema.js';

type User = components['schemas']['User'];

export async function story(base: string, key: string): Promise<void> {
  const api = createClient<paths>({ baseUrl: base, headers: { Authorization: `Bearer ${key}` } });
  const who = (id: string) => ({ params: { path: { id } } });

  const put = await api.PUT('/api/v1/users/{id}/presence', {
    params: { path: { id: 'rest/bot' }, query: { name: 'desk' } },
    body: {
      status: 'busy', rich_text: 'In a meeting', ttl: 60, device: { platform: 'desk' },
      properties: { room: 'Blue', seats: 7, open: false, topic: { token: 'topic', args: { n: 1 }, fallback: 'Talk' } },
    },
  });
  assert.ok(put.data, JSON.stringify(put.error));
  const session: string = put.data.session;

  const got = await api.GET('/api/v1/users/{id}', who('rest/bot'));
  const user: User | undefined = got.data;
  assert.equal(user?.availability, 'busy');
  assert.equal(user.sessions[0]?.session, session);
  assert.deepEqual(user.sessions[0]?.properties, { room: 'Blue', seats: 7, open: false, topic: { token: 'topic', args: { n: 1 }, fallback: 'Talk' } });

  const several = await api.POST('/api/v1/users/query', { body: { users: ['rest/bot', 'rest nobody'] } });
  assert.deepEqual(several.data?.users.map((u) => u.available), [true, false]);

  const friends = await api.PUT('/api/v1/users/{id}/friends', { ...who('rest/bot'), body: { friends: ['a', 'b'] } });
  assert.deepEqual(friends.data, { added: 2, removed: 0 });
  const page = await api.GET('/api/v1/users/{id}/friends', { params: { path: { id: 'rest/bot' }, query: { limit: 1 } } });
  assert.deepEqual(page.data?.friends, ['a']);
  assert.equal(typeof page.data?.next, 'string');

  const dropped = await api.DELETE('/api/v1/users/{id}/sessions/{sid}', { params: { path: { id: 'rest/bot', sid: session } } });
  assert.equal(dropped.data?.dropped, 1);
  const missing = await api.GET('/api/v1/users/{id}/sessions/{sid}', { params: { path: { id: 'rest/bot', sid: session } } });
  assert.equal(missing.error?.code, 'SESSION_GONE');
  assert.equal(missing.response.status, 404);

  const wrong = await api.PUT('/api/v1/users/{id}/presence', {
    ...who('rest/bot'),
    // @ts-expect-error there is no such status
    body: { status: 'sleeping', ttl: 60 },
  });
  assert.equal(wrong.error?.errors?.[0]?.location, 'body.status');
  // @ts-expect-error there is no such path
  const nothing = await api.GET('/api/v1/nothing', {});
  assert.equal(nothing.response.status, 404);

  const erased = await api.DELETE('/api/v1/users/{id}', who('rest/bot'));
  assert.ok(Date.parse(erased.data?.gone_by ?? '') > Date.now());
}
