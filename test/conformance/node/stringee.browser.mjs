// The published client of Stringee, unmodified, in pages of an app in a real
// browser: it asks where the server is and opens wss:// there.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import readline from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import esbuild from 'esbuild';
import { launch } from './demo.mjs';
import { home } from './node.mjs';

const { PORCHLIGHT_PROGRAM: program, PORCHLIGHT_CHROMIUM: chromium, PORCHLIGHT_CERT: cert, PORCHLIGHT_KEY: key } = process.env;
const sid = 'SK.0.browser';
const secret = 'an API key secret of these tests, 32 bytes';
const b64 = (o) => Buffer.from(JSON.stringify(o)).toString('base64url');

function sign(payload) {
  const now = Math.floor(Date.now() / 1000);
  const text = `${b64({ typ: 'JWT', alg: 'HS256', cty: 'stringee-api;v=1' })}.${b64({ jti: `${sid}-${now}`, iss: sid, exp: now + 3600, ...payload })}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

describe('the client of Stringee in a page', { concurrency: false, timeout: 120_000 }, () => {
  const undo = [];
  let browser;
  let app;
  let url;

  before(async () => {
    const { dir, remove } = home();
    undo.push(remove);
    // An app's bundler puts the package into its page.
    const bundle = esbuild.buildSync({
      stdin: { contents: "import { StringeeClient } from 'stringee'; window.StringeeClient = StringeeClient;", resolveDir: import.meta.dirname ?? '.' },
      bundle: true, write: false, format: 'iife', logLevel: 'silent',
    }).outputFiles[0].text;
    const server = createServer((request, response) => {
      response.setHeader('content-type', request.url === '/app.js' ? 'text/javascript' : 'text/html');
      response.end(request.url === '/app.js' ? bundle : '<!doctype html><title>app</title><script src="/app.js"></script>');
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    app = server.address().port;
    undo.push(() => (server.closeAllConnections(), server.close()));
    const config = path.join(dir, 'c.json'); // JSON is YAML
    writeFileSync(config, JSON.stringify({
      data: path.join(dir, 'data'), listen: { http: '127.0.0.1:0', grpc: '127.0.0.1:0', tls: { cert, key } },
      apps: { web: {
        jwt: { issuer: 'i', keys: [{ secret: 'an access token key of these tests, 32 bytes' }] }, policy: { grace: '6s' },
        cors: { origins: [`http://127.0.0.1:${app}`] }, stringee: { key_sid: sid, key_secret: secret, project_id: 25 },
      } },
    }));
    const child = spawn(program, ['serve', '--config', config], { stdio: ['ignore', 'pipe', 'inherit'] });
    undo.push(() => new Promise((resolve) => { child.once('exit', resolve); child.kill('SIGTERM'); }));
    for await (const line of readline.createInterface(child.stdout)) {
      const [what, address] = line.split(/\s+/);
      if (what === 'http') { url = `https://${address}/`; break; }
    }
    child.stdout.resume();
    browser = await launch(chromium, path.join(dir, 'profile'), { acceptInsecureCerts: true });
    undo.push(() => browser.close());
  }, { timeout: 60_000 });

  after(async () => { for (const step of undo.reverse()) await step(); });

  /** A tab whose client fires into window.events. */
  async function open(token, host = '127.0.0.1') {
    const page = await browser.newPage();
    await page.goto(`http://${host}:${app}/`);
    await page.evaluate((base, t) => {
      window.events = [];
      window.client = new window.StringeeClient([], base);
      for (const name of ['connect', 'authen', 'disconnect', 'otherdeviceauthen', 'messagefromtopic']) window.client.on(name, (data) => window.events.push([name, data]));
      window.client.connect(t);
    }, url, token);
    return page;
  }
  const until = (page, f, ...args) => page.waitForFunction(f, { timeout: 20_000, polling: 50 }, ...args);
  const all = (page, name) => page.evaluate((n) => window.events.filter(([e]) => e === n).map(([, data]) => data), name);
  const authen = (page, r = 0) => until(page, (want) => window.events.some(([n, d]) => n === 'authen' && d.r === want), r);
  const watcher = () => sign({ userId: 'alice', subscribe: 'status,manual' });
  const bob = () => sign({ userId: 'bob', attributes: [{ attribute: 'onlineStatus', topic: 'status' }, { attribute: 'manual_status', topic: 'manual' }] });

  test('finds the server, and hears what another one publishes', async () => {
    const a = await open(watcher());
    await authen(a);
    const b = await open(bob());
    await authen(b);
    const answer = await b.evaluate(() => new Promise((resolve) => window.client.changeAttribute('manual_status', { text: 'away' }, resolve)));
    assert.equal(answer.r, 0);
    await until(a, () => window.events.filter(([n]) => n === 'messagefromtopic').length >= 2);
    assert.deepEqual((await all(a, 'messagefromtopic')).map((d) => [d.topic, d.message.userId, d.message.newValue, d.message.projectId]), [['status', 'bob', 'online', 25], ['manual', 'bob', { text: 'away' }, 25]]);

    // A second tab of his is another client of the same browser.
    const second = await open(bob());
    await authen(second);
    await until(b, () => window.events.some(([n, d]) => n === 'otherdeviceauthen' && d.status === 'connected'));
    assert.deepEqual(await b.evaluate(() => window.client.allClientsOfThisBrowser), await second.evaluate(() => window.client.allClientsOfThisBrowser));
    await second.close();
    await until(b, () => window.events.some(([n, d]) => n === 'otherdeviceauthen' && d.status === 'disconnected'));

    // The line breaks: the same client is back in time, and nobody hears of it.
    await b.evaluate(() => window.client.socket.socket.close());
    await until(b, () => window.events.filter(([n, d]) => n === 'authen' && d.r === 0).length === 2);
    await wait(7000); // a grace that was not called off would end here
    assert.equal((await all(a, 'messagefromtopic')).length, 2);

    // A page that is loaded anew is another client, but the user stays.
    await b.reload();
    const again = await open(bob());
    await authen(again);
    await wait(7000);
    assert.equal((await all(a, 'messagefromtopic')).length, 2);
    await again.evaluate(() => window.client.disconnect());
    await until(a, () => window.events.some(([n, d]) => n === 'messagefromtopic' && d.message.newValue === 'offline'));
  });

  test('is told of a bad token when it asks for the server', async () => {
    await authen(await open('no token'), -12);
  });

  test('at an origin of no app connects nowhere', async () => {
    const page = await open(bob(), 'localhost');
    await wait(1500);
    assert.deepEqual(await all(page, 'connect'), []);
  });
});
