// Where the nodes of one cluster are.

import { address } from './options.ts';

/** Reasons that are one node's alone: another may take the session. */
const itsOwn: ReadonlySet<string> = new Set([
  'LINK_DOWN', 'SILENT', 'DRAINING', 'NODE_UNAVAILABLE', 'LOG_UNAVAILABLE', 'FRIENDS_UNAVAILABLE', 'KEYS_UNAVAILABLE',
]);

/** The addresses of a session, of which one is used. @internal */
export class Addresses {
  readonly #list: readonly string[];
  #at = 0;
  #unanswered = 0; // tries in a row that nobody answered, since the last pause

  constructor(urls: string | readonly string[], insecure: boolean) {
    const list = typeof urls === 'string' ? [urls] : urls;
    if (!Array.isArray(list) || list.length === 0) throw new TypeError('url: want an address, or a list of at least one');
    this.#list = list.map((url) => address(url, insecure));
  }

  /** The one that is used. */
  get now(): string {
    return this.#list[this.#at] ?? '';
  }

  /**
   * A link to the one that is used was refused or not answered for `reason`, or,
   * when it was `up`, ended. Reports whether the next one is to be tried without a
   * pause: nobody answered, and there are addresses that were not tried since the
   * last pause.
   */
  failed(reason: string, up: boolean): boolean {
    // A link that held and broke may have been the way there, and not the node.
    if (!itsOwn.has(reason) || (up && reason !== 'DRAINING')) return false;
    this.#at = (this.#at + 1) % this.#list.length;
    const answered = up || (reason !== 'LINK_DOWN' && reason !== 'SILENT');
    if (answered || ++this.#unanswered >= this.#list.length) {
      this.#unanswered = 0;
      return false;
    }
    return true;
  }

  /** The one that is used took the session. */
  held(): void {
    this.#unanswered = 0;
  }
}
