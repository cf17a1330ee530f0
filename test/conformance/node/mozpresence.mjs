// The golden transcripts of Mozilla's Presence interface, played with npm's ws.
// The test of Go beside it made the publishers, and says what the words mean.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import WebSocket from 'ws';

const fits = (want, got) => {
  if (want === '*') return true;
  if (Array.isArray(want)) return Array.isArray(got) && got.length === want.length && want.every((w, i) => fits(w, got[i]));
  if (want && typeof want === 'object') {
    return got && typeof got === 'object' && Object.keys(got).every((k) => k in want && fits(want[k], got[k])) &&
      Object.keys(want).every((k) => k in got || want[k] === '*');
  }
  return want === got;
};
const same = (want, got) => assert.ok(fits(JSON.parse(want), JSON.parse(got)), `got ${got}, want ${want}`);

// connect gives a socket whose frames wait until they are asked for.
async function connect(play, at, bearer) {
  const headers = bearer ? { Authorization: `Bearer ${play.names.$ASSERTION}` } : {};
  const sock = new WebSocket(`ws://${play.http}${at}`, { headers });
  const waiting = [];
  const came = [];
  sock.on('message', (b) => {
    const reader = waiting.shift();
    if (reader) reader(b.toString()); else came.push(b.toString());
  });
  sock.next = () => (came.length ? Promise.resolve(came.shift()) : new Promise((done) => { waiting.push(done); }));
  await new Promise((done, failed) => { sock.once('open', done); sock.once('error', failed); });
  return sock;
}

for (const play of JSON.parse(process.env.PORCHLIGHT_TRANSCRIPTS)) {
  test(path.basename(play.file), { timeout: 30_000 }, async (t) => {
    let sock;
    let device;
    let answer;
    t.after(() => { sock?.terminate(); device?.terminate(); });
    for (const line of readFileSync(play.file, 'utf8').split('\n')) {
      const [, word, raw] = /^(\S*)\s*(.*)$/.exec(line);
      const arg = Object.entries(play.names).reduce((s, [name, value]) => s.replaceAll(name, value), raw);
      if (word === 'socket') sock = await connect(play, arg.split(' ')[0], arg.endsWith(' bearer'));
      else if (word === '>') sock.send(arg);
      else if (word === '<') same(arg, await sock.next());
      else if (word === '=') same(arg, answer);
      else if (word === 'post') {
        const r = await fetch(`http://${play.http}/${play.names.$APP}/notification`, { method: 'POST', body: arg, headers: { Authorization: `Bearer ${play.names.$KEY}` } });
        answer = await r.text();
      } else if (word === 'device') {
        const [user, status] = arg.split(' ');
        device ??= await connect(play, '/presence', true);
        device.send(JSON.stringify({ status, user }));
        same(JSON.stringify({ result: 'OK', status, user }), await device.next());
      }
    }
  });
}
