// Web pages in a real browser against a server of their own: over TLS, where
// browsers speak HTTP/2, and in the clear, where they speak HTTP/1.1. Run by
// TestForeignPrograms/browser with `node --test browser.mjs`.

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { buildSync } from 'esbuild';
import puppeteer from 'puppeteer-core';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { api, Heard, WebDevice } from './web.mjs';

const { PORCHLIGHT_PROGRAM: program, PORCHLIGHT_CHROMIUM: chromium, PORCHLIGHT_CERT: cert, PORCHLIGHT_KEY: key } = process.env;
const descriptors = readFileSync(process.env.PORCHLIGHT_DESCRIPTORS);
const isonline = api(descriptors);
const home = mkdtempSync(path.join(tmpdir(), 'porchlight-browser-'));
const patience = 20_000;

const undo = [() => rmSync(home, { recursive: true, force: true, maxRetries: 5 })];
after(async () => {
  for (const step of undo.reverse()) await step();
});

/** A web server with one page, which is at a different origin on each host and port. */
async function serveApp() {
  const [bundle] = buildSync({ entryPoints: ['page.mjs'], bundle: true, format: 'iife', write: false }).outputFiles;
  const server = createServer((request, response) => {
    const script = request.url === '/page.js';
    response.setHeader('content-type', script ? 'text/javascript' : 'text/html');
    response.end(script ? bundle.text : '<!doctype html><title>app</title><script src="/page.js"></script>');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  undo.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return server.address().port;
}

/** `porchlight serve` with short times, for pages of the given origins. */
async function serve(name, origins, tls) {
  const config = path.join(home, `${name}.json`); // JSON is YAML
  writeFileSync(config, JSON.stringify({
    data: path.join(home, name),
    listen: { http: '127.0.0.1:0', grpc: '127.0.0.1:0', ...(tls && { tls }) },
    apps: { web: {
      jwt: { issuer: 'https://id.example', keys: [{ id: 'k', secret: 'a secret of thirty-two bytes or more, for this test' }] },
      policy: { heartbeat_timeout: '9s', grace: '6s' },
      cors: { origins },
    } },
  }));
  const child = spawn(program, ['serve', '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stderr.on('data', (b) => (log += b));
  undo.push(() => new Promise((resolve) => {
    child.once('exit', (code) => {
      assert.equal(code, 0, log);
      resolve();
    });
    child.kill('SIGTERM');
  }));
  const at = {};
  for await (const line of readline.createInterface(child.stdout)) {
    const [what, address] = line.split(/\s+/);
    at[what] = address;
    if (at.grpc && at.http) break;
  }
  assert.ok(at.http, log);
  child.stdout.resume();
  return {
    baseUrl: `${tls ? 'https' : 'http'}://${at.http}`,
    token: (user) => execFileSync(program, ['token', '--config', config, '--app', 'web', '--user', user], { encoding: 'utf8' }).trim(),
    /** A program's session there, by gRPC on the gRPC port. */
    async program(user, request) {
      const transport = createGrpcTransport({
        baseUrl: `${tls ? 'https' : 'http'}://${at.grpc}`, ...(tls && { nodeOptions: { ca: readFileSync(cert) } }),
      });
      const device = await new WebDevice(isonline, transport, this.token(user)).make('program');
      const heard = new Heard(patience);
      device.connect(heard.hear, request);
      await heard.next('connected');
      undo.push(() => device.cut.abort());
      return { device, heard };
    },
  };
}

let browser;
let port;

before(async () => {
  port = await serveApp();
  browser = await puppeteer.launch({
    executablePath: chromium,
    userDataDir: path.join(home, 'profile'),
    acceptInsecureCerts: true, // the server's is its own
    args: [
      '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
      '--disable-quic', '--disable-dev-shm-usage',
    ],
  });
  undo.push(() => browser.close());
}, { timeout: 60_000 });

/** A page of the app, from one of its hosts. */
async function open(host) {
  const page = await browser.newPage();
  await page.goto(`http://${host}:${port}/`);
  return page;
}

/** Waits for the next message that a page heard. */
async function hears(page, kind) {
  await page.waitForFunction(() => window.porchlight.events.some((e) => e.case !== 'keepAlive'), { timeout: patience, polling: 50 });
  const event = await page.evaluate(() => {
    const { events } = window.porchlight;
    while (events[0].case === 'keepAlive') events.shift();
    return events.shift();
  });
  assert.equal(event.case, kind, JSON.stringify(event));
  return event.value;
}

describe('in a browser', { concurrency: true }, () => {
  for (const { name, tls, dialect, beat } of [
    { name: 'over TLS', tls: { cert, key }, dialect: 'connect' },
    { name: 'in the clear', dialect: 'grpc-web', beat: 2000 },
    { name: 'in the clear, JSON', dialect: 'connect-json', beat: 2000 },
  ]) {
    describe(`a page ${name}`, { concurrency: false, timeout: 120_000 }, () => {
      let server;
      let page;
      let start;
      let carol;

      before(async () => {
        server = await serve(name.replace(/\W+/g, '-'), [`http://127.0.0.1:${port}`], tls);
        start = { baseUrl: server.baseUrl, token: server.token('alice'), descriptors: descriptors.toString('base64'), dialect, beat };
        carol = await server.program('carol');
        await carol.device.on('subscribeToUserIsOnline', { userId: 'alice' });
        await carol.heard.next('notification');
        await carol.heard.next('snapshotDone');
        page = await open('127.0.0.1');
      }, { timeout: 60_000 });

      test('signs in from another origin and sees a friend come and go', async () => {
        await page.evaluate((o) => window.porchlight.start(o), start);
        await hears(page, 'connected');
        const opened = await carol.heard.next('notification');
        assert.equal(opened.session.platform, 'web');
        await page.evaluate(() => window.porchlight.call('subscribeToUserIsOnline', { userId: 'bob' }));
        assert.equal((await hears(page, 'notification')).userFlag, 1);
        await hears(page, 'snapshotDone');
        const bob = await server.program('bob', { initial: { richText: { kind: { case: 'literal', value: 'hi' } } } });
        const came = await hears(page, 'notification');
        assert.deepEqual([came.userId, came.userFlag, came.session.richText], ['bob', 2, 'hi']);
        await bob.device.on('closeIsOnlineSession');
        const went = await hears(page, 'notification');
        assert.deepEqual([went.userId, went.userFlag, went.session.kind], ['bob', 1, 4]);
      });

      test('stays while it stands open', async () => {
        await wait(11_000); // longer than the heartbeat time-out: over HTTP/2 the browser answers pings
        assert.equal(carol.heard.events.length, 0, 'nothing was told of alice');
      });

      test('is loaded anew, and nobody sees a thing', async () => {
        await page.reload();
        await page.evaluate((o) => window.porchlight.start(o), start);
        assert.equal((await hears(page, 'connected')).resumed, true);
        await wait(7000); // a grace that was not called off would end here
        assert.equal(carol.heard.events.length, 0, 'nothing was told of alice');
      });

      test('is refused from an origin that is not the app\'s', async () => {
        const foreign = await open('localhost'); // the same page, of another origin
        const answer = await foreign.evaluate((o) => window.porchlight.ask(o), { ...start, userId: 'alice' });
        assert.equal(answer.user, undefined, JSON.stringify(answer));
        assert.match(answer.message, /fetch/i);
        const own = await page.evaluate((o) => window.porchlight.ask(o), { ...start, userId: 'alice' });
        assert.equal(own.user.userFlag, 2);
        const wrong = await page.evaluate((o) => window.porchlight.ask(o), { ...start, token: 'x', userId: 'alice' });
        assert.equal(wrong.reason, 'JWT_INVALID', 'its own pages can read why');
        await foreign.close();
      });

      test('is closed, and gone after the grace', async () => {
        await page.close();
        const closed = await carol.heard.next('notification');
        assert.deepEqual([closed.session.kind, closed.session.closeReason, closed.userFlag], [4, 2, 1]);
      });
    });
  }
});
