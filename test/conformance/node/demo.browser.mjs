// The package clients/js in a real browser, by way of the demo page that
// `porchlight dev` serves: what its users see, and what they must not see. Run
// by TestForeignPrograms/browser with `node --test demo.browser.mjs`.

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Tab, launch } from './demo.mjs';
import { Node, home } from './node.mjs';

const { PORCHLIGHT_PROGRAM: program, PORCHLIGHT_CHROMIUM: chromium } = process.env;

// The development node's grace is 6 s: one that was not called off would end here.
const pastGrace = 7500;

describe('the demo page', { concurrency: false, timeout: 120_000 }, () => {
  const undo = [];
  let browser;
  let node;
  let alice;
  let bob;

  before(async () => {
    const { dir, remove } = home();
    undo.push(remove);
    node = await new Node(program, path.join(dir, 'data')).start();
    undo.push(() => node.stop());
    browser = await launch(chromium, path.join(dir, 'profile'));
    undo.push(() => browser.close());
  }, { timeout: 60_000 });

  after(async () => {
    for (const step of undo.reverse()) await step();
  });

  test('asks who one is, and shows two tabs to each other', async () => {
    const page = await browser.newPage();
    const troubles = [];
    page.on('pageerror', (err) => troubles.push(err.message));
    page.on('console', (m) => m.type() === 'error' && troubles.push(m.text()));
    await page.goto(node.page);
    await Promise.all([page.waitForNavigation(), page.click('nav a')]);
    alice = new Tab(page);
    await alice.shows('#me', 'alice');
    await alice.sees('bob', 'offline', 'never seen');
    bob = await Tab.open(browser, node, 'bob');
    await alice.sees('bob', 'online', 'web (demo)');
    await bob.sees('alice', 'online');
    assert.deepEqual(await alice.news(), ['bob came online']);
    assert.deepEqual(troubles, []);
  });

  test('shows what the other says, as one change', async () => {
    await bob.choose('show', 'busy');
    await alice.sees('bob', 'busy');
    await bob.say('in a call');
    await alice.sees('bob', 'busy', 'in a call');
    assert.deepEqual(await alice.news(), ['bob changed to busy on web “in a call”', 'bob changed to busy on web', 'bob came online']);
  });

  test('is loaded anew, and nobody sees a thing', async () => {
    const before = [await alice.news(), await bob.news()];
    await bob.page.reload();
    await bob.shows('#link', 'connected');
    await bob.sees('alice', 'online');
    assert.equal(await bob.page.$eval('#text', (e) => e.value), 'in a call', 'it goes on with its status');
    await alice.page.reload();
    await alice.sees('bob', 'busy', 'in a call');
    await wait(pastGrace);
    assert.deepEqual(await alice.news(), [], 'a page that was loaded anew begins with an empty list');
    assert.deepEqual(await bob.news(), []);
    assert.equal(before[0].length, 3);
    await bob.page.reload();
    await bob.page.reload();
    await bob.shows('#link', 'connected');
  });

  test('goes away and comes back by the history, and nobody sees a thing', async () => {
    await bob.page.goto('about:blank');
    await bob.page.goBack();
    await bob.shows('#link', 'connected');
    await wait(pastGrace);
    assert.deepEqual(await alice.news(), [], 'nobody left, and nobody came');
    await alice.sees('bob', 'busy', 'in a call');
  });

  test('in a tab that was duplicated is a session of its own', async () => {
    const opened = new Promise((resolve) => browser.once('targetcreated', resolve));
    await bob.page.evaluate(() => void window.open(location.href));
    const copy = new Tab(await (await opened).page());
    await copy.shows('#link', 'connected');
    await alice.sees('bob', 'online', 'busy on web');
    await wait(1000);
    await bob.shows('#link', 'connected');
    assert.deepEqual(await alice.news(), ['bob opened online on web'], 'two sessions, and neither takes the other\'s place');
    await copy.click('#leave');
    await copy.shows('#link', 'offline');
    assert.deepEqual(await alice.news(), ['bob closed online on web', 'bob opened online on web']);
  });

  test('survives the server', async () => {
    const before = await alice.news();
    await wait(1500); // what was said a second ago is in the checkpoint
    await node.stop('SIGKILL');
    await alice.shows('#link', 'no connection');
    await node.start();
    await alice.shows('#link', 'connected');
    await bob.shows('#link', 'connected');
    await bob.choose('show', 'away');
    await alice.sees('bob', 'away', 'in a call');
    assert.deepEqual(await alice.news(), ['bob changed to away on web “in a call”', ...before]);
  });

  test('hides who wants it, and shows friends', async () => {
    await bob.choose('invisible');
    await alice.sees('bob', 'offline', 'last seen');
    await bob.choose('invisible');
    await alice.sees('bob', 'away');
    await alice.choose('watch', 'friends');
    await alice.shows('#nobody', 'Nobody yet');
    assert.equal(await alice.page.$('#people li'), null);
    await alice.choose('watch', 'all');
    await alice.sees('bob', 'away');
    await alice.click('button[data-friend="bob"]');
    await alice.shows('button[data-friend="bob"]', 'Remove friend');
    await alice.choose('watch', 'friends');
    await alice.sees('bob', 'away');
    assert.equal((await alice.page.$$('#people li')).length, 1, 'carol is no friend');
    await alice.click('button[data-friend="bob"]');
    await alice.page.waitForFunction(() => !document.querySelector('#people li'), { timeout: 20_000, polling: 50 });
  });

  test('leaves at once when it is told to, and is gone after the grace when it is closed', async () => {
    await alice.choose('watch', 'all');
    await alice.sees('bob', 'away');
    await bob.click('#leave');
    await alice.sees('bob', 'offline');
    await Promise.all([bob.page.waitForNavigation(), bob.click('#leave')]);
    await alice.sees('bob', 'online');
    await bob.page.close();
    const closed = Date.now();
    await alice.sees('bob', 'offline');
    assert.ok(Date.now() - closed > 4000, 'the grace came first');
  });

  test('can be used without a mouse, and names all that it has', async () => {
    const { children } = await alice.page.accessibility.snapshot();
    const nameless = children.filter((c) => ['radio', 'checkbox', 'textbox', 'button', 'link'].includes(c.role) && !c.name);
    assert.deepEqual(nameless, []);
    await alice.page.bringToFront();
    await alice.page.focus('input[name="show"]:checked');
    await alice.page.keyboard.press('ArrowRight');
    const tab = await Tab.open(browser, node, 'carol');
    await tab.sees('alice', 'away');
  });

  test('shows live notifications, their actions as links to pages alone', async () => {
    const { origin } = new URL(node.page);
    await browser.defaultBrowserContext().overridePermissions(origin, ['notifications']);
    const page = await browser.newPage();
    await page.evaluateOnNewDocument(() => {
      window.shown = [];
      window.opened = [];
      const Real = window.Notification;
      window.Notification = class extends Real {
        constructor(title, options) {
          super(title, options);
          window.shown.push([title, options.body, this]);
        }
      };
      window.open = (...how) => void window.opened.push(how);
    });
    await page.goto(`${node.page}?user=bob`);
    const bob = new Tab(page);
    await bob.shows('#link', 'connected');
    await alice.click('button[data-nudge="bob"]');
    await bob.shows('#notifications li', 'Porchlight demo: alice nudges you');
    const link = await page.$eval('#notifications a', (a) => [a.href, a.target, a.rel]);
    assert.deepEqual(link, [`${origin}/demo/?user=bob`, '_blank', 'noopener noreferrer']);
    const { shown, opened } = await page.evaluate(() => {
      window.shown[0][2].onclick();
      return { shown: window.shown.map(([title, body]) => [title, body]), opened: window.opened };
    });
    assert.deepEqual(shown, [['Porchlight demo', 'alice nudges you']]);
    assert.deepEqual(opened, [[`${origin}/demo/?user=bob`, '_blank', 'noopener,noreferrer']]);

    const put = await fetch(`${origin}/api/v1/users/bob/notifications`, {
      method: 'POST', headers: { 'Content-Type': 'application/json', Authorization: 'Bearer porchlight development server key, known to everyone, loopback only' },
      body: JSON.stringify({ notifications: [{ message: '<img src=x onerror=alert(1)>', action: 'javascript:alert(1)' }] }),
    });
    assert.equal(put.status, 200);
    await bob.shows('#notifications li', '<img src=x onerror=alert(1)>');
    assert.equal(await page.$$eval('#notifications a', (all) => all.length), 1, 'no link that would run as the page');
    assert.equal(await page.$$eval('#notifications img', (all) => all.length), 0);
    assert.equal(await page.evaluate(() => window.shown[1][2].onclick), null);
    await page.close();
    await alice.click('button[data-nudge="bob"]'); // nobody takes it now
    const later = await Tab.open(browser, node, 'bob');
    await later.shows('#notifications li', 'alice nudges you');
  });
});
