// The pages of the Mozilla interface in a real browser, with scripts switched on
// and off: a developer registers a publisher, a user lets it see him and takes it
// back, and pages of others try to do it for them. Run by
// TestForeignPrograms/browser with `node --test presence.browser.mjs`.

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import readline from 'node:readline';
import { launch } from './demo.mjs';
import { home } from './node.mjs';

const { PORCHLIGHT_PROGRAM: program, PORCHLIGHT_CHROMIUM: chromium } = process.env;

const quote = (s) => s.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** A web server of others: the app's page for signing in, a publisher, and an attacker are such. */
class Site {
  asked = [];

  async start(answer) {
    this.server = createServer((request, response) => {
      const url = new URL(request.url, this.url);
      this.asked.push(url);
      const [type, body] = answer(url) ?? ['text/plain', ''];
      response.setHeader('content-type', type);
      response.end(type === 'text/html' ? `<!doctype html><title>site</title>${body}` : body);
    });
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  /** Another site than 127.0.0.1 for a browser: cookies do not go along. */
  get host() {
    return `localhost:${this.server.address().port}`;
  }

  get url() {
    return `http://${this.host}`;
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

/** `porchlight serve` with pages. */
async function serve(dir, app) {
  const config = path.join(dir, 'porchlight.json'); // JSON is YAML
  writeFileSync(config, JSON.stringify({
    data: path.join(dir, 'data'),
    listen: { http: '127.0.0.1:0', grpc: '127.0.0.1:0' },
    apps: { web: {
      jwt: { issuer: 'https://id.example', keys: [{ id: 'k', secret: 'a secret of thirty-two bytes or more, for this test' }] },
      mozpresence: { publishers: 'closed', developers: ['dora'], login_url: `${app.url}/sign-in`, allow_private: true },
    } },
  }));
  const child = spawn(program, ['serve', '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stderr.on('data', (b) => (log += b));
  let http;
  for await (const line of readline.createInterface(child.stdout)) {
    const [what, address] = line.split(/\s+/);
    if (what === 'http') http = address;
    if (line.includes('Ctrl-C') || what === 'http') break;
  }
  assert.ok(http, log);
  child.stdout.resume();
  return {
    url: `http://${http}`,
    token: (user) => execFileSync(program, ['token', '--config', config, '--app', 'web', '--user', user], { encoding: 'utf8' }).trim(),
    stop: () => new Promise((resolve) => {
      child.once('exit', (code) => {
        assert.equal(code, 0, log);
        assert.ok(!log.includes('eyJ'), `the log holds a token:\n${log}`);
        resolve();
      });
      child.kill('SIGTERM');
    }),
  };
}

/** The contrast of the texts of a page that are hardest to read; run in the page. */
function contrasts() {
  const parse = (s) => s.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !e.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
    found.push({ text: e.textContent.trim().slice(0, 40), ratio: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) });
  }
  return found.filter((f) => f.ratio < 4.5);
}

for (const scripts of [true, false]) {
  describe(`the pages with scripts ${scripts ? 'on' : 'off'}`, { concurrency: false, timeout: 120_000 }, () => {
    const undo = [];
    const troubles = [];
    let browser;
    let node;
    let app;
    let shop;
    let evil;
    let proof = '';
    let page;
    let id;

    before(async () => {
      const { dir, remove } = home();
      undo.push(remove);
      // The app's page for signing in: who comes is the user whom the test wants.
      app = await new Site().start((url) => ['text/html', url.pathname === '/sign-in' &&
        `<form method="post" action="${node.url}/login"><input type="hidden" name="assertion" value="${node.token(app.user)}">
         <input type="hidden" name="next" value="${quote(url.searchParams.get('next'))}"><button>Sign in as ${app.user}</button></form>`]);
      shop = await new Site().start((url) => url.pathname === '/__presence' ? ['text/plain', proof] : ['text/html', `<h1>Shop</h1><a href="${
        node.url}/${id}/grant?${quote(String(new URLSearchParams({ redirect: `${shop.url}/back?state=7`, id: 'ann@shop' })))}">Share</a>`]);
      evil = await new Site().start((url) => url.pathname === '/frame' ? ['text/html', `<iframe src="${url.searchParams.get('of')}" width="600" height="400"></iframe>`]
        : ['text/html', `<form method="post" action="${url.searchParams.get('to')}"><input name="allow" value="1"><input name="redirect" value="${shop.url}/back"><input name="assertion" value="${
          node.token('mallory')}"><button>win</button></form>`]);
      undo.push(() => [app, shop, evil].forEach((s) => s.stop()));
      node = await serve(dir, app);
      undo.push(() => node.stop());
      browser = await launch(chromium, path.join(dir, 'profile'));
      undo.push(() => browser.close());
      page = await browser.newPage();
      await page.setJavaScriptEnabled(scripts);
      page.on('pageerror', (err) => troubles.push(err.message));
      page.on('console', (m) => /policy|refused|violat/i.test(m.text()) && troubles.push(m.text()));
    }, { timeout: 60_000 });

    after(async () => {
      for (const step of undo.reverse()) await step();
    });

    const text = () => page.$eval('body', (e) => e.innerText);
    const press = (selector) => Promise.all([page.waitForNavigation(), page.click(selector)]);
    const named = async (selector, words) => {
      for (const e of await page.$$(selector)) {
        if ((await e.evaluate((x) => x.innerText)).includes(words)) return e;
      }
      throw new Error(`no ${selector} says ${words}; the page says:\n${await text()}`);
    };
    const pressNamed = async (words) => {
      const button = await named('main button, main a', words);
      return Promise.all([page.waitForNavigation(), button.click()]);
    };
    const signIn = async (user, where) => {
      app.user = user;
      await page.goto(node.url + where);
      assert.equal(new URL(page.url()).host, app.host, 'who is not signed in is sent to the app');
      await press('button');
      assert.equal(page.url(), node.url + where, 'and comes back to where he wanted');
    };
    const pages = [];
    /** What every page must be, in the light and in the dark. */
    const proper = async (what) => {
      pages.push(what);
      const found = await page.evaluate(() => ({
        h1: document.querySelectorAll('h1').length, lang: document.documentElement.lang, title: document.title, scripts: document.scripts.length,
        landmarks: ['header', 'main', 'footer'].filter((l) => document.querySelectorAll(`body > ${l}`).length === 1).length,
        unlabelled: [...document.querySelectorAll('input:not([type=hidden]), textarea')].filter((e) => !e.labels.length).length,
        described: [...document.querySelectorAll('[aria-describedby]')].every((e) => e.getAttribute('aria-describedby').split(' ').every((i) => document.getElementById(i))),
        ids: [...document.querySelectorAll('[id]')].map((e) => e.id).filter((x, i, all) => all.indexOf(x) !== i),
        levels: [...document.querySelectorAll('h1, h2, h3')].map((h) => h.tagName).sort().join('').startsWith('H1'),
        wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
        styled: getComputedStyle(document.querySelector('header')).display,
      }));
      assert.deepEqual({ ...found, title: !!found.title }, {
        h1: 1, lang: 'en', title: true, scripts: 0, landmarks: 3, unlabelled: 0, described: true, ids: [], levels: true, wide: false, styled: 'flex',
      }, what);
      const { children } = await page.accessibility.snapshot();
      assert.deepEqual(children.filter((c) => ['textbox', 'button', 'link'].includes(c.role) && !c.name), [], `${what}: all has names`);
      for (const value of ['light', 'dark']) {
        await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value }]);
        assert.deepEqual(await page.evaluate(contrasts), [], `${what} can be read in the ${value}`);
      }
      await page.setViewport({ width: 320, height: 640 });
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > 320), false, `${what} fits a narrow screen`);
      await page.setViewport({ width: 900, height: 700 });
    };

    test('a developer registers, and is told what is wrong', async () => {
      await signIn('dora', '/myapps');
      await proper('mine');
      await page.type('#domain', 'not a domain');
      await page.type('#name', 'Shop');
      await press('form[action="/myapps"] button');
      assert.match(await page.title(), /^Error: /);
      assert.match(await text(), /2 things are not right yet/);
      assert.equal(await page.$eval('#name', (e) => e.value), 'Shop', 'what was right is still there');
      assert.equal(await page.evaluate(() => document.activeElement.className), 'summary', 'the summary has the focus');
      await proper('registration refused');
      await page.$eval('#domain', (e) => (e.value = ''));
      await page.type('#domain', `http://${shop.host}/`);
      await page.type('#description', 'We sell <b>lamps</b>.');
      await page.type('#email', 'dora@shop.example');
      await press('form[action="/myapps"] button');
      id = new URL(page.url()).pathname.split('/')[2];
      assert.match(id, /^[a-z2-7]{24}$/);
      await proper('not proven');
    });

    test('proves the domain, and gets the key once', async () => {
      await pressNamed('Verify');
      assert.match(await text(), /is not text|is not the key/);
      await proper('proof refused');
      proof = await page.$eval('.secret', (e) => e.textContent);
      assert.equal(proof.length, 1024);
      await pressNamed('Verify');
      assert.match(await text(), /We found your key/);
      await pressNamed('Activate');
      const key = await page.$eval('.key .secret', (e) => e.textContent);
      assert.match(key, /^[A-Za-z0-9_-]{1024}$/);
      await proper('the key');
      const asked = await fetch(`${node.url}/${id}/presence?uid=x`, { headers: { authorization: `Bearer ${key}` } });
      assert.equal(asked.status, 200, 'the key is good');
      await page.goto(`${node.url}/myapps/${id}`);
      assert.equal(await page.$('.key'), null, 'and is not shown again');
      await page.goBack().catch(() => {}); // the browser may ask whether to send the form again
      assert.equal(await page.$('.key'), null, 'not by going back either');
      await page.goto(`${node.url}/myapps`);
      await press('form[action="/logout"] button');
      assert.match(await text(), /You are signed out/);
      await proper('signed out');
    });

    test('a user without a login is asked by a publisher, and says no, then yes', async () => {
      app.user = 'ann';
      await page.goto(shop.url);
      await press('a');
      await press('button'); // at the app's page
      assert.match(await text(), /Share with Shop when you are online\?/);
      assert.match(await text(), /ann@shop/);
      assert.match(await text(), /We sell <b>lamps<\/b>/);
      await proper('the question');
      await pressNamed('Do not allow');
      assert.equal(page.url(), `${shop.url}/back?state=7`);
      await press('a');
      await pressNamed('Allow');
      const back = new URL(page.url());
      assert.equal(back.origin, shop.url);
      assert.equal(back.searchParams.get('state'), '7');
      assert.match(back.searchParams.get('Presence-UID'), /^[a-z2-7]{26}$/);
      await press('a');
      assert.match(await text(), /You already share with Shop/);
      await proper('asked again');
      await pressNamed('Go on');
      assert.equal(page.url(), String(back), 'with the same id');
      assert.ok(!shop.asked.some((u) => String(u).includes('eyJ')), 'no token reached the publisher');
    });

    test('nobody else can answer for the user', async () => {
      const granted = async () => (await (await fetch(`${node.url}/getApps`, { headers: { authorization: `Bearer ${node.token('ann')}` } })).json()).apps.length;
      await page.goto(`${node.url}/grant`);
      await pressNamed('Stop sharing');
      assert.match(await text(), /Shop cannot see you any more/);
      assert.equal(await granted(), 0);
      await proper('nobody');
      for (const to of [`/${id}/grant`, `/grant/${id}`]) {
        await page.goto(`${evil.url}/?to=${node.url}${to}`);
        await press('button');
        assert.match(await text(), /Your sign-in has ended|This form is not good any more/);
        await proper('a forged form');
        assert.equal(await granted(), 0, to);
      }
      await page.goto(`${evil.url}/?to=${node.url}/login`);
      await press('button');
      assert.match(await text(), /did not come from your app/);
      await page.goto(`${node.url}/grant`);
      assert.match(await text(), /Signed in as ann/, 'the login is still his own');
      await page.goto(`${node.url}/${id}/grant?redirect=${encodeURIComponent(`${evil.url}/`)}`);
      assert.match(await text(), /We stopped here to keep you safe/);
      assert.equal(new URL(page.url()).origin, node.url);
      await proper('an open redirect');
    });

    test('no site can put the pages in a frame', async () => {
      // From another port of the same host the login goes along.
      const near = evil.url.replace('localhost', '127.0.0.1');
      await page.goto(`${near}/frame?of=${encodeURIComponent(`${node.url}/${id}/grant?redirect=${shop.url}/back`)}`);
      const frame = page.frames().find((f) => f !== page.mainFrame());
      const inside = await frame.evaluate(() => document.body?.innerText ?? '').catch(() => '');
      assert.ok(!inside.includes('Share with'), inside);
      troubles.splice(0, troubles.length, ...troubles.filter((t) => !/frame/i.test(t)));
    });

    test('can be used without a mouse', async () => {
      await page.goto(`${node.url}/${id}/grant?redirect=${encodeURIComponent(`${shop.url}/back`)}`);
      const stops = [];
      for (let i = 0; i < 10; i++) {
        await page.keyboard.press('Tab');
        stops.push(await page.evaluate(() => {
          const e = document.activeElement;
          return `${e.innerText} ${getComputedStyle(e).outlineStyle}`;
        }));
        if (stops.at(-1).startsWith('Allow')) break;
      }
      assert.match(stops[0], /Skip to the content/);
      assert.ok(stops.every((s) => s.endsWith('solid')), `each stop can be seen: ${stops}`);
      assert.ok(stops.at(-1).startsWith('Allow'), String(stops));
      await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
      assert.match(page.url(), /Presence-UID=/);
    });

    test('the login is kept from scripts, and nothing broke the policy', async () => {
      const [cookie] = await page.cookies(node.url);
      assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite, cookie.path], ['porchlight-pages', true, 'Lax', '/']);
      assert.deepEqual(troubles, []);
      assert.ok(pages.length >= 12, String(pages));
    });
  });
}
