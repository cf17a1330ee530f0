// Takes the picture of the demo page that the README shows: two tabs, alice in
// one, bob in the other. `make screenshot` runs it:
//
//   node screenshot.mjs PROGRAM CHROMIUM OUT.png

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Tab, launch } from './demo.mjs';
import { Node, home } from './node.mjs';

const [program, chromium, out] = process.argv.slice(2);
if (!out) throw new Error('usage: node screenshot.mjs PROGRAM CHROMIUM OUT.png');

const size = { width: 620, height: 900 };
const { dir, remove } = home();
const node = await new Node(path.resolve(program), path.join(dir, 'data')).start();
const browser = await launch(chromium, path.join(dir, 'profile'));
try {
  const alice = await Tab.open(browser, node, 'alice');
  const bob = await Tab.open(browser, node, 'bob');
  for (const tab of [alice, bob]) await tab.page.setViewport(size);
  await alice.sees('bob', 'online');
  await bob.choose('show', 'busy');
  await bob.say('in a call until ten');
  await alice.sees('bob', 'busy', 'in a call until ten');
  await alice.choose('show', 'away');
  await bob.sees('alice', 'away');
  await alice.click('button[data-friend="bob"]');
  await alice.shows('button[data-friend="bob"]', 'Remove friend');

  const tabs = [];
  for (const [user, tab] of [['alice', alice], ['bob', bob]]) {
    await tab.page.bringToFront();
    await tab.page.mouse.move(0, 0);
    await tab.page.evaluate(() => document.activeElement.blur());
    const shot = path.join(dir, `${user}.png`);
    await tab.page.screenshot({ path: shot });
    tabs.push({ user, address: `${node.page}?user=${user}`.replace(node.http, '127.0.0.1:7400'), shot: readFileSync(shot).toString('base64') });
  }
  const frame = await browser.newPage();
  await frame.setViewport({ width: 2 * size.width + 72, height: size.height + 96 });
  await frame.goto(pathToFileURL(dir).href);
  await frame.setContent(`<!doctype html><style>
    body { margin: 0; padding: 24px; display: flex; gap: 24px; background: #d9d2c8; font: 14px system-ui, sans-serif; }
    figure { margin: 0; border-radius: 10px; overflow: hidden; box-shadow: 0 4px 18px #0004; background: #efebe5; }
    figcaption { padding: 12px 16px; color: #4a443d; }
    img { display: block; }
  </style>${tabs.map((t) => `<figure><figcaption>${t.address}</figcaption><img src="data:image/png;base64,${t.shot}" width="${size.width}"></figure>`).join('')}`);
  await frame.screenshot({ path: out });
} finally {
  await browser.close();
  await node.stop();
  remove();
}
