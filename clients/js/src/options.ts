// What a session begins with.

import type { Backoff } from './backoff.ts';
import type { Clock } from './clock.ts';
import type { SocketClass } from './link.ts';
import type { LiveNotification } from './notification.ts';
import type { TopicMessage } from './topics.ts';
import type { Page } from './page.ts';
import type { Status } from './status.ts';

/** What the user holds. */
export interface Device {
  /** Such as `web`, `ios`, `linux`; found out when it is left out. */
  readonly platform?: string;
  /** Which product of the app. */
  readonly product?: string;
  /** BCP 47, such as `en-US`: the language of the texts that are read. The browser's when it is left out. */
  readonly locale?: string;
  /** The same at every start on this device. A new session ends an older one of the same non-empty id: leave it out for web pages, which may stand open in two tabs. */
  readonly id?: string;
  /** Of the program. */
  readonly version?: string;
}

/** What a {@link PresenceSession} begins with. */
export interface SessionOptions {
  /**
   * The server: `wss://presence.example/live`, or `https://presence.example`.
   * Without TLS (`ws:`, `http:`) only this machine is spoken to, unless `insecure`
   * is set: the access token could be read on the way.
   *
   * Of several nodes without a balancer before them, a list: the first is used, and
   * when one cannot be reached, takes no session or says goodbye, the next, in turn.
   */
  readonly url: string | readonly string[];
  /**
   * Returns the user's access token (a JWT). It is called before the first
   * connection, and again when the server said that the last token has expired.
   * When it fails it is called again after a pause.
   */
  readonly token: () => string | Promise<string>;
  /** What the user says at first; online without a word when it is left out. */
  readonly status?: Status;
  /** Users to watch from the beginning. */
  readonly watch?: readonly string[];
  /** Watches the user's friends too: those on the list that the server has. */
  readonly friends?: boolean;
  readonly device?: Device;
  /**
   * Takes the user's live notifications: called with each one. Without it they are
   * left to the user's other devices, or wait.
   */
  readonly onNotification?: (notification: LiveNotification) => void;
  /**
   * Subscribes to the topics that the access token names: called with each message.
   * Without it nothing is subscribed to.
   */
  readonly onTopic?: (message: TopicMessage) => void;
  /** Called when topic messages were left out, because this device was too slow or its link was lost. */
  readonly onTopicsMissed?: () => void;
  /**
   * Goes on with the session when the page is loaded anew: nobody sees the user
   * leave and come back. The value is a name in the tab's `sessionStorage`, where
   * the session's token lies while no page holds it.
   */
  readonly remember?: string;
  /** A session token to go on with, made by the app's backend or at another door. */
  readonly resume?: string;
  readonly backoff?: Backoff;
  /** Allows connections without TLS to other machines. */
  readonly insecure?: boolean;
  /** The WebSocket class, where there is no global one (Node before 22). */
  readonly WebSocket?: SocketClass;
  /** @internal */
  readonly clock?: Clock;
  /** @internal */
  readonly page?: Page;
}

/** The address of the live door that `url` means; throws when there is none. @internal */
export function address(url: string, insecure: boolean): string {
  if (typeof url !== 'string') throw new TypeError(`url ${JSON.stringify(url)}: want wss://host/live or https://host`);
  const parts = /^(wss?|https?):\/\/([^/?#]+)([^?#]*)(\?[^#]*)?$/i.exec(url);
  if (parts === null) throw new TypeError(`url ${JSON.stringify(url)}: want wss://host/live or https://host`);
  const [, scheme = '', host = '', path = '', query = ''] = parts;
  if (host.includes('@')) throw new TypeError('url: a user name and password do not belong there; the token option says who it is');
  const secure = /^(wss|https)$/i.test(scheme);
  if (!secure && !insecure && !loopback.test(host)) {
    throw new TypeError(`url ${JSON.stringify(url)}: without TLS the access token could be read on the way: use wss://, or set insecure to allow it`);
  }
  return `${secure ? 'wss' : 'ws'}://${host}${path === '' || path === '/' ? '/live' : path}${query}`;
}

/** This machine, without asking a resolver. */
const loopback = /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/i;

/** Refuses ids that no server takes: 1 to 128 bytes of UTF-8. @internal */
export function checkUsers(users: readonly string[]): void {
  for (const user of users) {
    if (typeof user !== 'string' || user === '' || bytes(user) > 128) {
      throw new TypeError(`user id ${JSON.stringify(user)}: want a string of 1 to 128 bytes`);
    }
  }
}

/** How many bytes of UTF-8 a text has; endless when it has half a pair. */
function bytes(text: string): number {
  let n = 0;
  for (const c of text) {
    const code = c.codePointAt(0) ?? 0;
    if (code >= 0xd800 && code <= 0xdfff) return Infinity;
    n += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return n;
}
