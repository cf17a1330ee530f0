// Live notifications: short messages for the user.

/** A short message for the user, put by a server. Everything in it is what somebody wrote. */
export interface LiveNotification {
  /** Names it among those of its publisher. */
  readonly id: string;
  /** Who put it; missing when it was the app itself. */
  readonly publisher?: string;
  /** Who or what it is from, for people. */
  readonly source?: string;
  readonly message: string;
  /** What happens if the user agrees: a URL, or what the app makes of it. See {@link actionLink}. */
  readonly action?: string;
  /** When it was put, and when it is stale, if ever: milliseconds since 1970. */
  readonly at: number;
  readonly until?: number;
}

/**
 * The action of a notification as a link that a page may show: undefined unless it
 * is a whole `http:` or `https:` address. Anything else (`javascript:`, `data:`)
 * would run with the rights of the page.
 */
export function actionLink(notification: Pick<LiveNotification, 'action'>): string | undefined {
  const { action } = notification;
  return action !== undefined && /^https?:\/\/[^\s/?#\\]\S*$/i.test(action) ? action : undefined;
}

/** How many ids are remembered. */
const most = 512;

/** Tells no notification twice: one that was written when its node died comes again. @internal */
export class Notifications {
  readonly #seen = new Set<string>();
  readonly #tell: (notification: LiveNotification) => void;

  constructor(tell: (notification: LiveNotification) => void) {
    this.#tell = tell;
  }

  take(list: readonly LiveNotification[]): void {
    for (const n of list) {
      const name = JSON.stringify([n.publisher ?? '', n.id]);
      if (this.#seen.has(name)) continue;
      this.#seen.add(name);
      if (this.#seen.size > most) for (const oldest of this.#seen) { this.#seen.delete(oldest); break; }
      this.#tell(n);
    }
  }
}
