// One connection to the live door, from its hello to its end.

import type { Clock } from './clock.ts';
import { PresenceError } from './errors.ts';
import type { LiveNotification } from './notification.ts';
import type { TopicMessage } from './topics.ts';
import { type Answer, type News, type Welcome, decode, malformed, protocol } from './wire.ts';

/** What of a WebSocket is used; the browser's and Node's own have it. */
export interface SocketLike {
  readonly readyState: number;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
}

/** A WebSocket class, such as `WebSocket`. */
export type SocketClass = new (url: string, protocols: string[]) => SocketLike;

/** What the owner of a link is told. @internal */
export interface Owner {
  welcomed(welcome: Welcome): void;
  /** A part of the hello failed; the session stays. */
  partFailed(part: string, error: PresenceError): void;
  /** Takes one message's news. They have the numbers up to `q`. */
  news(news: readonly News[], q: number): void;
  notified(list: readonly LiveNotification[]): void;
  /** Topic messages; undefined: some were left out. */
  topics(list: readonly TopicMessage[] | undefined): void;
  /** Comes once, and last. */
  ended(error: PresenceError): void;
}

/** @internal */
export interface LinkParams {
  readonly socket: SocketClass;
  readonly url: string;
  readonly hello: Readonly<Record<string, unknown>>;
  readonly clock: Clock;
  readonly owner: Owner;
}

/** How long the welcome may take. The server stores an opening within 10 s or refuses. */
const welcomeLimit = 15_000;

/** How long an answer may take. */
const answerLimit = 15_000;

/** How long the answer to a ping may take. */
const pongLimit = 10_000;

/** How long a page that has reason for doubt waits for one. */
const doubtLimit = 4_000;

/** What a close code means where no `bye` was read before it. */
const closeCodes: Readonly<Record<number, string>> = {
  1001: 'DRAINING', 1002: 'PROTOCOL', 1007: 'PROTOCOL', 1009: 'FRAME_INVALID', 4400: 'FRAME_INVALID', 4401: 'JWT_EXPIRED', 4403: 'ORIGIN_REFUSED',
  4408: 'NO_HELLO', 4409: 'REPLACED_STREAM', 4410: 'SESSION_GONE', 4413: 'SLOW_CONSUMER', 4429: 'RATE_LIMITED',
};

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: PresenceError): void;
  stop(): void;
}

/** One connection. It is of no use after `ended`. @internal */
export class Link {
  #socket: SocketLike | undefined;
  #p: LinkParams;
  #last = 0; // the newest request's id
  #waiting = new Map<number, Waiting>();
  #heard = 0; // when
  #sequence = 0;
  #heartbeat = 0;
  #stopGuard = (): void => {};
  #stopProbe: (() => void) | undefined; // while an answer to a ping is awaited
  #probeUntil = 0;
  #over = false;
  #up = false;

  constructor(p: LinkParams) {
    this.#p = p;
    this.#stopGuard = p.clock.after(welcomeLimit, () => this.#silent());
    let socket: SocketLike;
    try {
      socket = new p.socket(p.url, [protocol]);
    } catch (err) {
      // Not from within the constructor: the owner has no link yet.
      this.#stopGuard = p.clock.after(0, () => this.end(new PresenceError({ reason: 'LINK_DOWN', message: `cannot connect: ${String(err)}`, cause: err })));
      return;
    }
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#send(p.hello);
    };
    socket.onmessage = (event: { readonly data: unknown }) => this.#message(event.data);
    // A close follows, which says more; but not in Node 20 where nobody listens.
    socket.onerror = () => {
      if (!opened) this.#closed(1006);
    };
    socket.onclose = (event: { readonly code: number }) => this.#closed(event.code);
  }

  /** Whether the welcome came and the link has not ended since. */
  get up(): boolean {
    return this.#up && !this.#over;
  }

  /** Sends a request; its answer, or why there is none. */
  request(frame: Readonly<Record<string, unknown>>): Promise<Answer> {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      if (!this.up) {
        reject(new PresenceError({ reason: 'LINK_DOWN', message: 'there is no link to the server now' }));
        return;
      }
      this.#waiting.set(id, { resolve, reject, stop: this.#p.clock.after(answerLimit, () => this.#silent()) });
      this.#send({ ...frame, id });
    });
  }

  /** Says goodbye; the server's answer is the end. */
  bye(mode: 'leave' | 'logout'): void {
    this.#send({ t: 'bye', mode });
  }

  /** Finds out soon whether the link is still there. */
  doubt(): void {
    if (this.up) this.#ping(doubtLimit);
  }

  /** Ends the link from this side. */
  end(error: PresenceError): void {
    if (this.#over) return;
    this.#over = true;
    this.#stopGuard();
    this.#stopProbe?.();
    const socket = this.#socket;
    if (socket !== undefined) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      if (socket.readyState <= 1) socket.close();
    }
    for (const waiting of this.#waiting.values()) {
      waiting.stop();
      waiting.reject(new PresenceError({ reason: 'LINK_DOWN', message: `the link was lost before the answer: ${error.message}`, cause: error }));
    }
    this.#waiting.clear();
    this.#p.owner.ended(error);
  }

  #send(frame: Readonly<Record<string, unknown>>): void {
    if (!this.#over && this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  #message(text: unknown): void {
    this.#heard = this.#p.clock.now();
    this.#stopProbe?.();
    this.#stopProbe = undefined;
    try {
      this.#take(text);
    } catch (err) {
      this.end(err instanceof PresenceError ? err : malformed(String(err)));
    }
  }

  #take(text: unknown): void {
    const frame = decode(text);
    switch (frame.t) {
      case 'welcome':
        return this.#welcomed(frame.welcome);
      case 'n':
        // The first of the message must have the number after the last one had.
        if (!this.#up || frame.q - frame.count !== this.#sequence) throw malformed(`news up to number ${frame.q} after ${this.#sequence}`);
        this.#sequence = frame.q;
        return this.#p.owner.news(frame.news, frame.q);
      case 'm':
        return this.#p.owner.notified(frame.notifications);
      case 'topic':
        return this.#p.owner.topics(frame.messages);
      case 'ok':
        return this.#answered(frame.id)?.resolve(frame.answer);
      case 'error':
        if (frame.part !== '') return this.#p.owner.partFailed(frame.part, frame.error);
        if (frame.id === undefined) return; // no answer to anything of ours
        return this.#answered(frame.id)?.reject(frame.error);
      case 'bye':
        return this.end(frame.error);
    }
  }

  #welcomed(welcome: Welcome): void {
    if (this.#up) throw malformed('a second welcome');
    this.#up = true;
    this.#sequence = welcome.q;
    this.#heartbeat = welcome.heartbeat;
    this.#stopGuard();
    this.#stopGuard = (): void => {};
    this.#watchSilence();
    this.#p.owner.welcomed(welcome);
  }

  #answered(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    waiting?.stop();
    return waiting;
  }

  /** A page cannot see the server's pings, so it asks when it heard nothing. */
  #watchSilence(): void {
    if (this.#heartbeat === 0 || this.#over) return;
    const rest = this.#heard + this.#heartbeat - this.#p.clock.now();
    if (rest <= 0) this.#ping(pongLimit);
    this.#stopGuard = this.#p.clock.after(rest > 0 ? rest : this.#heartbeat, () => this.#watchSilence());
  }

  #ping(limit: number): void {
    const until = this.#p.clock.now() + limit;
    // An answer that is awaited already need not come later than was said.
    if (this.#stopProbe === undefined || until < this.#probeUntil) {
      this.#stopProbe?.();
      this.#stopProbe = this.#p.clock.after(limit, () => this.#silent());
      this.#probeUntil = until;
    }
    this.#send({ t: 'ping' });
  }

  #silent(): void {
    this.end(new PresenceError({ reason: 'SILENT', message: 'the server was silent for too long' }));
  }

  #closed(code: number): void {
    const reason = closeCodes[code] ?? 'LINK_DOWN';
    this.end(new PresenceError({
      reason, message: this.#up ? `the link was lost (close code ${code})` : `the server cannot be reached, or refused the link (close code ${code}); is the address right, and a page's origin in cors.origins of its app?`,
    }));
  }
}
