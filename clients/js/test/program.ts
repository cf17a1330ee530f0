// A program that uses the package's types, for a compiler. It is not run.

import { type Change, type Presence, PresenceError, PresenceSession, type PresenceStore, type SessionSnapshot } from 'porchlight-client';

const session = new PresenceSession({
  url: 'wss://presence.example',
  token: async () => 'a token',
  status: { show: 'busy', text: { token: 'match.playing', args: { score: 3 }, fallback: 'playing' }, properties: { room: 7, open: true } },
  watch: ['bob'],
  friends: true,
  remember: 'presence',
  device: { product: 'shop', locale: 'pt-BR' },
  backoff: { first: 500 },
});

// The shapes that useSyncExternalStore wants.
function useSyncExternalStore<T>(subscribe: (listener: () => void) => () => void, getSnapshot: () => T): T {
  return subscribe(() => {}) && getSnapshot();
}
const store: PresenceStore = session.store;
const people: ReadonlyMap<string, Presence> = useSyncExternalStore(store.subscribe, store.getSnapshot);
const link: SessionSnapshot['link'] = useSyncExternalStore(session.subscribe, session.getSnapshot).link;
const bob: Presence | undefined = useSyncExternalStore((l) => store.subscribeUser('bob', l), () => store.get('bob'));

export async function main(): Promise<string> {
  const leave = store.onChange((change: Change) => change.steps.map((s) => s.kind === 'closed' && s.why));
  try {
    await session.open();
    await session.set({});
    await session.patch({ text: null, properties: { room: null } });
    await session.watch('carol', 'dave');
    session.unwatch('dave');
    await session.watchFriends();
    session.unwatchFriends();
    const asked = await session.get(['erin'], { sessions: true });
    return `${asked.get('erin')?.unknown} ${people.size} ${link} ${bob?.sessions[0]?.text}`;
  } catch (err) {
    if (err instanceof PresenceError && err.temporary) return `${err.reason} ${err.retryAfter} ${err.fields[0]?.path}`;
    throw err;
  } finally {
    leave();
    await session.leave();
    session.close();
  }
}

// @ts-expect-error What is given out cannot be changed.
people.get('bob').available = true;
// @ts-expect-error There is no such status.
session.set({ show: 'asleep' });
// @ts-expect-error A status has no such key.
session.set({ status: 'busy' });
