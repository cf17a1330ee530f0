// The demo page, as a product's page would be written on porchlight-client.
// Below /demo/token and /demo/friends is what a product's backend would do.

import { PresenceSession, actionLink } from './porchlight-client.js';

const everybody = ['alice', 'bob', 'carol'];
const user = new URLSearchParams(location.search).get('user');
const $ = (id) => document.getElementById(id);

/** Asks the backend. */
async function backend(method, path) {
  const response = await fetch(path, { method });
  if (!response.ok) throw new Error(await response.text());
  return response.status === 204 ? {} : response.json();
}

/** An element with attributes and content. */
function element(name, attributes, ...content) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...content);
  return e;
}

const clock = (ms) => new Date(ms).toLocaleTimeString();

if (everybody.includes(user)) start();

function start() {
  const others = everybody.filter((u) => u !== user);
  let friends = new Set();

  const session = new PresenceSession({
    url: location.origin,
    token: async () => (await backend('POST', `token/${user}`)).token,
    watch: others,
    remember: `porchlight-demo-${user}`, // a reload goes on with the session
    device: { product: 'demo' },
    onNotification: notified,
  });
  const { store } = session;

  /** Shows a live notification: here, and where the user allows it as a Web Notification. Its action is a link only if it leads to a page. */
  function notified(n) {
    const link = actionLink(n);
    const text = link === undefined ? n.message : element('a', { href: link, target: '_blank', rel: 'noopener noreferrer' }, n.message);
    $('notifications').prepend(element('li', { 'data-id': n.id }, element('time', { datetime: new Date(n.at).toISOString() }, clock(n.at)), n.source ? `${n.source}: ` : '', text));
    while ($('notifications').children.length > 100) $('notifications').lastChild.remove();
    if (globalThis.Notification?.permission !== 'granted') return;
    const shown = new Notification(n.source ?? 'Porchlight demo', { body: n.message, tag: n.id, icon: 'icon.svg' });
    if (link !== undefined) shown.onclick = () => open(link, '_blank', 'noopener,noreferrer');
  }

  // A browser asks only when its user pressed something.
  const mayAsk = () => ($('allow').hidden = globalThis.Notification?.permission !== 'default');
  $('allow').addEventListener('click', () => Notification.requestPermission().then(mayAsk));
  mayAsk();

  /** Shows what went wrong with something that was asked for. */
  const attempt = (promise) => promise.then(() => ($('problem').textContent = ''), (err) => ($('problem').textContent = err.message));

  // My own status.
  const form = $('status');
  const say = () => attempt(session.set({
    show: form.elements.show.value,
    ...(form.elements.text.value && { text: form.elements.text.value }),
    ...(form.elements.invisible.checked && { invisible: true }),
  }));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    say();
  });
  form.addEventListener('change', say);

  let offline = false;
  $('leave').addEventListener('click', () => {
    if (offline) return location.reload();
    attempt(session.leave());
  });

  // Whom I watch.
  $('watching').addEventListener('change', (event) => {
    if (event.target.value === 'friends') {
      session.unwatch(...others);
      attempt(session.watchFriends());
    } else {
      session.unwatchFriends();
      attempt(session.watch(...others));
    }
    showPeople();
  });

  async function befriend(other) {
    try {
      await backend(friends.has(other) ? 'DELETE' : 'PUT', `friends/${user}/${other}`);
      await fetchFriends();
    } catch (err) {
      $('problem').textContent = err.message;
    }
  }

  async function fetchFriends() {
    friends = new Set((await backend('GET', `friends/${user}`)).friends);
    showPeople();
  }

  // What is shown: made of snapshots, whenever one changes.
  function showSession() {
    const { link, status, retryAt, error, friendsError } = session.getSnapshot();
    offline = link === 'over';
    $('link').textContent = { idle: '', connecting: 'connecting…', up: 'connected', down: `no connection, next attempt at ${clock(retryAt)}`, over: 'offline' }[link];
    $('leave').textContent = offline ? 'Come back' : 'Go offline';
    for (const input of form.elements) input.disabled = offline;
    $('people').classList.toggle('stale', link !== 'up');
    if (offline && error.reason !== 'CLOSED') $('problem').textContent = error.message;
    else if (friendsError) $('problem').textContent = friendsError.message;
    if (status && !form.contains(document.activeElement)) {
      form.elements.show.value = status.show ?? 'online';
      form.elements.text.value = status.text ?? '';
      form.elements.invisible.checked = status.invisible ?? false;
    }
  }

  function showPeople() {
    const known = store.getSnapshot();
    const shown = $('watching').elements.watch.value === 'all' ? others : [...known.keys()].sort();
    // A button that has the focus keeps it.
    const { friend, nudge } = document.activeElement?.dataset ?? {};
    $('people').replaceChildren(...shown.map((other) => person(other, known.get(other))));
    if (friend) $('people').querySelector(`[data-friend="${friend}"]`)?.focus();
    if (nudge) $('people').querySelector(`[data-nudge="${nudge}"]`)?.focus();
    $('nobody').hidden = shown.length > 0;
  }

  function person(other, presence) {
    const best = presence?.sessions.find((s) => s.show === 'online') ?? presence?.sessions[0];
    const show = best?.show ?? 'offline';
    const button = element('button', { type: 'button', 'data-friend': other }, friends.has(other) ? 'Remove friend' : 'Add friend');
    button.setAttribute('aria-label', `${button.textContent}: ${other}`);
    button.addEventListener('click', () => befriend(other));
    const nudge = element('button', { type: 'button', 'data-nudge': other, 'aria-label': `Nudge: ${other}` }, 'Nudge');
    nudge.addEventListener('click', () => attempt(backend('POST', `nudge/${user}/${other}`)));
    const more = element('p', { class: 'more' });
    if (!presence) more.append('asking…');
    else if (!presence.available) more.append(presence.lastSeen ? `last seen ${new Date(presence.lastSeen).toLocaleString()}` : 'never seen');
    for (const s of presence?.sessions ?? []) {
      more.append(element('span', { class: 'device' }, `${s.show} on ${s.platform ?? 'something'}${s.product ? ` (${s.product})` : ''} `));
      if (s.text) more.append(element('q', { ...(s.locale && { lang: s.locale }) }, s.text));
      more.append(element('br', {}));
    }
    return element('li', { 'data-user': other, 'data-show': show },
      element('span', {}, element('span', { class: `light ${show}` }), ' ', element('span', { class: 'name' }, other), ` is ${presence ? show : '…'}`), element('span', { class: 'row' }, nudge, button), more);
  }

  function tell(...content) {
    const now = Date.now();
    $('news').prepend(element('li', {}, element('time', { datetime: new Date(now).toISOString() }, clock(now)), ...content));
    while ($('news').children.length > 100) $('news').lastChild.remove();
  }

  store.onChange(({ user: other, before, now, steps }) => {
    if (!before || !now) return; // watching began or ended
    const came = now.available && !before.available && 'came online';
    const went = !now.available && before.available && 'went offline';
    const devices = steps.map(({ kind, session: s }) => `${{ current: 'is', opened: 'opened', updated: 'changed to', closed: 'closed' }[kind]} ${s.show} on ${s.platform ?? 'something'}${s.text ? ` “${s.text}”` : ''}`);
    tell(`${other} ${came || went || devices.join(', ') || 'was seen'}`);
  });
  store.subscribe(showPeople);
  session.subscribe(showSession);

  document.title = `${user} – Porchlight demo`;
  $('me').textContent = `You are ${user}`;
  $('me-too').textContent = user;
  $('another').href = `?user=${others[0]}`;
  $('who').hidden = true;
  $('app').hidden = false;
  showSession();
  showPeople();
  fetchFriends().catch((err) => ($('problem').textContent = err.message));
  session.open().catch(() => {}); // the snapshot has it
}
