// The published client of Stringee, unmodified, in Node against real nodes: what
// it needs of a browser is made here, and only its server address is another.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import readline from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { home } from './node.mjs';

const program = process.env.PORCHLIGHT_PROGRAM;
const sid = 'SK.0.conformance';
const secret = 'an API key secret of these tests, 32 bytes';
const serverKey = 'a server key of these tests, thirty-two bytes';
const patience = 20_000;

// What the client takes from the browser around it.
const stored = new Map();
Object.assign(globalThis, {
  window: globalThis,
  WebSocket,
  document: {},
  location: { protocol: 'http:', href: 'http://app.example/' },
  screen: { width: 1920, height: 1080 },
  localStorage: { getItem: (k) => stored.get(k) ?? null, setItem: (k, v) => stored.set(k, String(v)), removeItem: (k) => stored.delete(k) },
});
Object.defineProperty(globalThis, 'navigator', { value: { userAgent: 'Node', product: 'ReactNative' }, configurable: true });
const said = [];
console.log = (...words) => said.push(words.join(' ')); // the client tells all it does
const { StringeeClient } = createRequire(import.meta.url)('stringee');

const b64 = (o) => Buffer.from(JSON.stringify(o)).toString('base64url');

/** A token as the vendor's samples make it. */
function sign(payload, { header = { typ: 'JWT', alg: 'HS256', cty: 'stringee-api;v=1' }, key = secret } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const text = `${b64(header)}.${b64({ jti: `${sid}-${now}`, iss: sid, exp: now + 3600, ...payload })}`;
  return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
}

const topics = {
  subscribe: 'online_status_X,ALL_CALL_STATUS,agent_manual_status',
  attributes: [{ attribute: 'onlineStatus', topic: 'online_status_X' }, { attribute: 'call', topic: 'call_X' }, { attribute: 'manual_status', topic: 'agent_manual_status' }],
};

async function until(what, f) {
  for (const end = Date.now() + patience; Date.now() < end; await wait(20)) {
    const got = await f();
    if (got) return got;
  }
  throw new Error(`in vain waited for ${what}`);
}

/** `porchlight serve` with Stringee's door. */
class Server {
  http = '127.0.0.1:0';

  constructor(dir, name, elsewhere = []) {
    this.file = path.join(dir, `${name}.json`); // JSON is YAML
    this.data = path.join(dir, `data-${name}`);
    this.elsewhere = elsewhere;
  }

  async start() {
    writeFileSync(this.file, JSON.stringify({
      data: this.data, listen: { http: this.http, grpc: '127.0.0.1:0', stringee: { elsewhere: this.elsewhere, addresses: ['presence.example:8443'] } },
      apps: { demo: {
        server_keys: [{ id: 'k', secret: serverKey }], jwt: { issuer: 'i', keys: [{ secret: 'an access token key of these tests, 32 bytes' }] },
        policy: { grace: '1s' }, stringee: { key_sid: sid, key_secret: secret, project_id: 25 },
      } },
    }));
    const child = spawn(program, ['serve', '--config', this.file], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.child = child;
    for await (const line of readline.createInterface(child.stdout)) {
      const [what, address] = line.split(/\s+/);
      if (what === 'http') this.http = address;
      if (what === 'http') break; // the last of them
    }
    child.stdout.resume();
    return this;
  }

  stop(signal = 'SIGTERM') {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return undefined;
    return new Promise((resolve) => { child.once('exit', resolve); child.kill(signal); });
  }

  get url() { return `ws://${this.http}`; }

  async rest(method, to, body) {
    const response = await fetch(`http://${this.http}${to}`, {
      method, headers: { 'X-STRINGEE-AUTH': sign({ rest_api: true }) }, body: body && JSON.stringify(body),
    });
    return { status: response.status, body: await response.json() };
  }

  async drop(user) {
    const response = await fetch(`http://${this.http}/api/v1/users/${user}/sessions`, { method: 'DELETE', headers: { authorization: `Bearer ${serverKey}` } });
    assert.equal(response.status, 200, await response.text());
  }
}

/** The client with all it fires noted. */
class Client {
  events = [];
  hooks = {};

  constructor(server) {
    this.sdk = new StringeeClient([server.url]);
    for (const name of ['connect', 'authen', 'disconnect', 'requestnewtoken', 'otherdeviceauthen', 'messagefromtopic']) {
      this.sdk.on(name, (data) => { this.events.push([name, data]); this.hooks[name]?.(); });
    }
  }

  all(name) { return this.events.filter(([n]) => n === name).map(([, data]) => data); }

  async authen(token, count = 1) {
    this.sdk.connect(token);
    await until('authen', () => this.all('authen').length >= count);
    return this.all('authen').at(-1);
  }

  change(name, value) { return new Promise((resolve) => this.sdk.changeAttribute(name, value, resolve)); }
}

describe('the client of Stringee in Node', { concurrency: false, timeout: 120_000 }, () => {
  const undo = [];
  let dir;
  let server;
  const clients = [];
  const client = (s = server) => { const c = new Client(s); clients.push(c); return c; };
  before(async () => {
    const h = home();
    dir = h.dir;
    undo.push(h.remove);
    server = await new Server(dir, 'one').start();
    undo.push(() => server.stop());
  });
  after(async () => {
    for (const c of clients) c.sdk.disconnect();
    for (const f of undo.reverse()) await f();
  });

  test('connects, sets attributes and hears of topics', async () => {
    const agent = client();
    const ok = await agent.authen(sign({ userId: 'agent_1', ...topics }));
    assert.deepEqual({ ...ok, requestId: 0, connectionId: '' }, {
      requestId: 0, r: 0, message: 'SUCCESS', userId: 'agent_1', projectId: 25, connectionId: '', ping_after_ms: 45000, ice_servers: [],
      clients: [{ clientId: agent.sdk.getClientId(), browserId: agent.sdk.getBrowserId() }],
    });
    const own = await until('his own coming', () => agent.all('messagefromtopic')[0]);
    assert.deepEqual({ ...own, message: { ...own.message, timestamp: 0 } }, {
      topic: 'online_status_X', message: { newValue: 'online', callEnded: true, attribute: 'onlineStatus', userId: 'agent_1', projectId: 25, timestamp: 0 },
    });
    assert.ok(Math.abs(own.message.timestamp - Date.now()) < 60_000);

    assert.deepEqual({ ...await agent.change('manual_status', 'away'), requestId: 0 }, { requestId: 0, r: 0, message: 'SUCCESS' });
    assert.equal((await agent.change('manual_status', { deep: [1, { a: null }], on: true })).r, 0);
    assert.equal((await agent.change('not_in_the_map', 1)).r, 0);
    assert.equal((await agent.change('onlineStatus', 'offline')).r, 400);
    assert.equal((await agent.change('call', 'Ended')).r, 400);
    const values = await until('both values', () => { const m = agent.all('messagefromtopic').filter((d) => d.topic === 'agent_manual_status'); return m.length >= 2 && m; });
    assert.deepEqual(values.map((d) => d.message.newValue), ['away', { deep: [1, { a: null }], on: true }]);

    const { status, body } = await server.rest('GET', '/v1/users/agent_1');
    assert.equal(status, 200);
    assert.deepEqual(body.attributes, [
      { attribute: 'onlineStatus', value: 'online' }, { attribute: 'call' },
      { attribute: 'manual_status', value: { deep: [1, { a: null }], on: true } }, { attribute: 'not_in_the_map', value: 1 },
    ]);
    await server.rest('PUT', '/v1/users/agent_1/attributes', [{ attribute: 'manual_status', value: 'by REST' }]);
    await until('the change by REST', () => agent.all('messagefromtopic').some((d) => d.message.newValue === 'by REST'));
    await server.rest('PUT', '/v1/calls/call-1', { participants: ['agent_1'], state: 'Ringing' });
    const call = await until('the call', () => agent.all('messagefromtopic').find((d) => d.topic === 'ALL_CALL_STATUS'));
    assert.deepEqual([call.message.newValue, call.message.callEnded], ['Ringing', false]);
    await server.rest('PUT', '/v1/calls/call-1', { participants: ['agent_1'], state: 'Ended' });
    await until('its end', () => agent.all('messagefromtopic').find((d) => d.topic === 'ALL_CALL_STATUS' && d.message.callEnded));
  });

  test('knows its user\'s other clients, and is seen at other doors', async () => {
    const one = client();
    await one.authen(sign({ userId: 'bob', ...topics }));
    const two = client();
    const ok = await two.authen(sign({ userId: 'bob', ...topics }));
    assert.deepEqual(ok.clients.map((c) => c.clientId), [one.sdk.getClientId(), two.sdk.getClientId()]);
    const came = await until('the other to come', () => one.all('otherdeviceauthen')[0]);
    assert.deepEqual(came, { status: 'connected', clientId: two.sdk.getClientId(), browserId: two.sdk.getBrowserId(), userId: 'bob' });
    two.sdk.disconnect();
    const went = await until('the other to go', () => one.all('otherdeviceauthen')[1]);
    assert.deepEqual([went.status, went.clientId], ['disconnected', two.sdk.getClientId()]);
    assert.deepEqual(one.sdk.allClients, [one.sdk.getClientId()]);
    assert.equal((await server.rest('GET', '/v1/users/bob')).body.attributes[0].value, 'online', 'one is left');
    one.sdk.disconnect();
    await until('bob to go', async () => (await server.rest('GET', '/v1/users/bob')).body.attributes[0].value === 'offline');
  });

  test('is told why a token is refused', async () => {
    const code = async (token) => {
      const c = client();
      const { r } = await c.authen(token);
      await wait(50);
      return [r, c.all('requestnewtoken').length];
    };
    assert.deepEqual(await code(''), [1, 0]);
    assert.deepEqual(await code('a.b.c'), [2, 0]);
    assert.deepEqual(await code('hello'), [3, 0]);
    assert.deepEqual(await code(sign({ userId: 'u' }, { header: { alg: 'HS512' } })), [4, 0]);
    assert.deepEqual(await code(sign({ userId: 'u', iss: 'SK.other' })), [5, 0]);
    assert.deepEqual(await code(sign({ userId: 'u', exp: 1 })), [6, 1]);
    assert.deepEqual(await code(sign({ userId: 'u' }, { key: 'another' })), [6, 1]);
    assert.deepEqual(await code(sign({})), [7, 0]);
    const again = client();
    again.hooks.requestnewtoken = () => setTimeout(() => again.sdk.connect(sign({ userId: 'fresh' })), 200); // at once it would not listen
    await again.authen(sign({ userId: 'fresh', exp: 1 }));
    await until('the fresh token', () => again.all('authen').some((e) => e.r === 0));
  });

  test('stays away when the app\'s server dropped it', async () => {
    const c = client();
    await c.authen(sign({ userId: 'dropped' }));
    await server.drop('dropped');
    await until('the refusal', () => c.all('authen').some((e) => e.r === 21));
    assert.equal((await server.rest('GET', '/v1/users/dropped')).body.attributes[0].value, 'offline');
    const later = client();
    assert.equal((await later.authen(sign({ userId: 'dropped' }))).r, 0, 'another page of his');
  });

  test('comes back after a kill and a restart, with nothing seen', async () => {
    const s = await new Server(dir, 'killed').start();
    undo.push(() => s.stop());
    const c = client(s);
    await c.authen(sign({ userId: 'carol', ...topics }));
    await until('her own coming', () => c.all('messagefromtopic').length === 1);
    await wait(2000); // until a checkpoint has the session
    for (const signal of ['SIGKILL', 'SIGTERM']) {
      const before = c.all('authen').length;
      await s.stop(signal);
      await s.start();
      await until(`the client after ${signal}`, () => c.all('authen').slice(before).some((e) => e.r === 0));
      assert.equal((await c.change('manual_status', signal)).r, 0);
      await until(`the change after ${signal}`, () => c.all('messagefromtopic').some((d) => d.message.newValue === signal));
    }
    assert.deepEqual(c.all('messagefromtopic').map((d) => d.message.newValue), ['online', 'SIGKILL', 'SIGTERM']);
  });

  test('goes to another node when its own stops', async () => {
    const two = await new Server(dir, 'two').start();
    undo.push(() => two.stop());
    const one = await new Server(dir, 'one-of-two', [two.url]).start();
    undo.push(() => one.stop());
    const c = client(one);
    await c.authen(sign({ userId: 'dave', ...topics }));
    await one.stop();
    await until('the other node', () => c.all('authen').length === 2);
    assert.equal((await two.rest('GET', '/v1/users/dave')).body.attributes[0].value, 'online');
    assert.ok(said.some((l) => l.includes(`change to: ${two.url}`)), 'it was told where to go');
  });

  test('asks where the server is', async () => {
    const response = await fetch(`http://${server.http}/v2/getStringeeServerAddress?access_token=${sign({ userId: 'u' })}`);
    assert.deepEqual(await response.json(), { r: 0, data: { stringeeServerAddrs: { web: [{ ip: 'presence.example', port: 8443 }] } } });
  });
});
