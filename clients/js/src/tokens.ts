import type { Clock } from './clock.ts';
import { PresenceError } from './errors.ts';

/** How long the program may take for a token. */
const limit = 30_000;

/**
 * The user's access token: the last one until the server refused it. It does not
 * look inside: the server's clock decides about expiry, not ours.
 * @internal
 */
export class Tokens {
  readonly #make: () => string | Promise<string>;
  readonly #clock: Clock;
  #token: string | undefined;
  #fetching: Promise<string> | undefined;

  constructor(make: () => string | Promise<string>, clock: Clock) {
    this.#make = make;
    this.#clock = clock;
  }

  /** Forgets the last one. */
  refuse(): void {
    this.#token = undefined;
  }

  /** The last one, or a new one: one fetch serves all who ask meanwhile. */
  async get(): Promise<string> {
    return this.#token ?? (this.#fetching ??= this.#fetch().finally(() => (this.#fetching = undefined)));
  }

  async #fetch(): Promise<string> {
    let stop = (): void => {};
    const late = new Promise<never>((_, reject) => {
      stop = this.#clock.after(limit, () => reject(new Error(`it took longer than ${limit} ms`)));
    });
    try {
      const token = await Promise.race([this.#make(), late]);
      if (typeof token !== 'string' || token === '') throw new Error('it is not a string, or empty');
      return (this.#token = token);
    } catch (err) {
      throw new PresenceError({ reason: 'TOKEN_UNAVAILABLE', message: `getting the access token: ${err instanceof Error ? err.message : String(err)}`, cause: err });
    } finally {
      stop();
    }
  }
}
