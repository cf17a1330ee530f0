// The demo page of `porchlight dev` in tabs of a real browser, for tests of
// clients/js and for the picture in the README.

import puppeteer from 'puppeteer-core';

const patience = 20_000;

/** A browser with a profile of its own. */
export function launch(chromium, profile, options = {}) {
  return puppeteer.launch({
    ...options,
    executablePath: chromium,
    userDataDir: profile,
    args: [
      '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
      '--disable-quic', '--disable-dev-shm-usage',
    ],
  });
}

/** One tab of the demo page. */
export class Tab {
  constructor(page) {
    this.page = page;
  }

  /** Opens a tab as a user, and waits until it is connected. */
  static async open(browser, node, user) {
    const tab = new Tab(await browser.newPage());
    await tab.page.goto(`${node.page}?user=${user}`);
    await tab.shows('#link', 'connected');
    return tab;
  }

  /** Waits until an element has a text. */
  async shows(selector, text) {
    await this.page.waitForFunction(
      (s, t) => document.querySelector(s)?.textContent.includes(t), { timeout: patience, polling: 50 }, selector, text,
    ).catch(async (err) => {
      const there = await this.page.evaluate(() => document.body.innerText).catch(() => 'nothing');
      throw new Error(`${selector} does not show ${JSON.stringify(text)} (${err.message}); the page shows:\n${there}`);
    });
  }

  /** Waits until a user is seen with a show: online, away, busy or offline. */
  sees(user, show, text = '') {
    return this.shows(`li[data-user="${user}"][data-show="${show}"]`, text);
  }

  /** Clicks as its user would: in the tab in front. */
  async click(selector) {
    await this.page.bringToFront();
    await this.page.click(selector);
  }

  /** Chooses a radio button, or ticks a box. */
  choose(name, value) {
    return this.click(value === undefined ? `input[name="${name}"]` : `input[name="${name}"][value="${value}"]`);
  }

  async say(text) {
    await this.page.bringToFront();
    await this.page.type('#text', text);
    await this.page.click('#status button');
  }

  /** What changed, newest first, without the times. */
  news() {
    return this.page.evaluate(() => [...document.querySelectorAll('#news li')].map((li) => li.textContent.slice(li.querySelector('time').textContent.length)));
  }
}
