// The package clients/js in a page of an app, in a real browser, against
// `porchlight serve` over TLS. Run by TestForeignPrograms/browser with
// `node --test client.browser.mjs`.

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import readline from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { launch } from './demo.mjs';
import { home } from './node.mjs';

const { PORCHLIGHT_PROGRAM: program, PORCHLIGHT_CHROMIUM: chromium, PORCHLIGHT_CERT: cert, PORCHLIGHT_KEY: key } = process.env;

/** A web server with one page, which is at a different origin on each host and port. */
async function serveApp() {
  const files = {
    '/': ['text/html', readFileSync('client.page.html')],
    '/porchlight-client.js': ['text/javascript', readFileSync('../../../clients/js/dist/porchlight-client.js')],
  };
  const server = createServer((request, response) => {
    const [type, body] = files[request.url] ?? ['text/plain', ''];
    response.setHeader('content-type', type);
    response.end(body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: server.address().port, stop: () => (server.closeAllConnections(), server.close()) };
}

describe('a page of an app, over TLS', { concurrency: false, timeout: 120_000 }, () => {
  const undo = [];
  let browser;
  let app;
  let url;
  let config;
  const token = (name, user) => execFileSync(program, ['token', '--config', config, '--app', name, '--user', user], { encoding: 'utf8' }).trim();
  const open = async (host) => {
    const page = await browser.newPage();
    await page.goto(`http://${host}:${app.port}/`);
    await page.waitForFunction(() => window.porchlight, { timeout: 20_000, polling: 50 });
    return page;
  };
  const begin = (page, user, { name = 'web', ...options } = {}) => page.evaluate((o, t) => window.porchlight.begin(o, t), { url, ...options }, token(name, user));

  before(async () => {
    const { dir, remove } = home();
    undo.push(remove);
    app = await serveApp();
    undo.push(() => app.stop());
    config = path.join(dir, 'c.json'); // JSON is YAML
    const one = (origins) => ({ jwt: { issuer: `https://${origins.length}.example`, keys: [{ id: 'k', secret: 'a secret of thirty-two bytes or more, for this test' }] }, policy: { heartbeat_timeout: '9s', grace: '6s' }, cors: { origins } });
    writeFileSync(config, JSON.stringify({
      data: path.join(dir, 'data'), listen: { http: '127.0.0.1:0', grpc: '127.0.0.1:0', tls: { cert, key } },
      apps: { web: one([`http://127.0.0.1:${app.port}`]), other: one([]) },
    }));
    const child = spawn(program, ['serve', '--config', config], { stdio: ['ignore', 'pipe', 'inherit'] });
    undo.push(() => new Promise((resolve) => {
      child.once('exit', resolve);
      child.kill('SIGTERM');
    }));
    for await (const line of readline.createInterface(child.stdout)) {
      const [what, address] = line.split(/\s+/);
      if (what === 'http') {
        url = `https://${address}`;
        break;
      }
    }
    child.stdout.resume();
    browser = await launch(chromium, path.join(dir, 'profile'), { acceptInsecureCerts: true }); // the server's is its own
    undo.push(() => browser.close());
  }, { timeout: 60_000 });

  after(async () => {
    for (const step of undo.reverse()) await step();
  });

  test('sees another one, stays while it stands open, and is loaded anew unseen', async () => {
    const [alice, bob] = [await open('127.0.0.1'), await open('127.0.0.1')];
    const { link } = await begin(alice, 'alice', { watch: ['bob'] });
    assert.equal(link, 'up');
    await alice.evaluate(() => {
      window.told = [];
      window.porchlight.session().store.onChange(({ now, steps }) => window.told.push([now.available, ...steps.map((s) => s.kind)].join(' ')));
    });
    const { id } = await begin(bob, 'bob');
    await alice.waitForFunction(() => window.told.includes('true opened'), { timeout: 20_000, polling: 50 });
    await wait(11_000); // longer than the heartbeat time-out
    await bob.reload();
    await bob.waitForFunction(() => window.porchlight, { timeout: 20_000, polling: 50 });
    assert.equal((await begin(bob, 'bob')).id, id, 'the same session');
    await wait(7000); // a grace that was not called off would end here
    assert.deepEqual((await alice.evaluate(() => window.told)).filter((t) => t !== 'false'), ['true opened']);
    assert.equal((await alice.evaluate(() => window.porchlight.state())).link, 'up');
    await bob.close();
    await alice.waitForFunction(() => window.told.includes('false closed'), { timeout: 20_000, polling: 50 });
  });

  test('at an origin of no app cannot connect, and learns where to look', async () => {
    const state = await begin(await open('localhost'), 'carol');
    assert.deepEqual([state.link, state.reason], ['connecting', 'LINK_DOWN']);
    assert.match(state.message, /cors\.origins/);
  });

  test('with a token of an app whose origin it is not, is told so, for good', async () => {
    const state = await begin(await open('127.0.0.1'), 'carol', { name: 'other' });
    assert.deepEqual([state.link, state.reason], ['over', 'ORIGIN_REFUSED']);
  });
});
