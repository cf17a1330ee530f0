// The frames of the live door, and their translation. What is received may be
// anything: nothing in it may hurt here.

import { type Field, PresenceError } from './errors.ts';
import type { LiveNotification } from './notification.ts';
import { type CloseReason, type Presence, type UserSession, oldestFirst } from './presence.ts';
import { type Show, freeze } from './status.ts';
import type { Attribute, TopicMessage } from './topics.ts';

/** The sub-protocol of the live door. @internal */
export const protocol = 'porchlight.v1';

/** The first frame of the server. @internal */
export interface Welcome {
  readonly session: string;
  readonly resume: string;
  readonly resumed: boolean;
  readonly resync: boolean;
  readonly q: number;
  readonly heartbeat: number;
  readonly batch: number;
  /** Users of the hello that nobody can be. */
  readonly rejected: readonly string[];
}

/** One notification. @internal */
export type News =
  | { readonly kind: 'current' | 'opened' | 'updated' | 'closed' | 'none'; readonly user: string; readonly on: boolean
      readonly seen: number | undefined; readonly session: UserSession | undefined; readonly why: CloseReason | undefined; readonly stale?: number }
  /** Everything of `user` was told; undefined is everybody; `friends` is all of the friends. */
  | { readonly kind: 'done'; readonly user: string | undefined; readonly friends: boolean }
  | { readonly kind: 'ended'; readonly user: string; readonly unfriended: boolean };

/** The answer to a request that was not refused. @internal */
export interface Answer {
  readonly rejected: readonly string[];
  readonly users: readonly unknown[];
  readonly attributes: readonly Attribute[];
  readonly changed: number;
}

/** Any frame of the server. @internal */
export type Frame =
  | { readonly t: 'welcome'; readonly welcome: Welcome }
  | { readonly t: 'n'; readonly q: number; readonly news: readonly News[]; readonly count: number }
  | { readonly t: 'm'; readonly notifications: readonly LiveNotification[] }
  /** Without messages some were left out. */
  | { readonly t: 'topic'; readonly messages: readonly TopicMessage[] | undefined }
  | { readonly t: 'ok'; readonly id: number; readonly answer: Answer }
  /** With `part`, that part of the hello failed. */
  | { readonly t: 'error'; readonly id: number | undefined; readonly part: string; readonly error: PresenceError }
  | { readonly t: 'bye'; readonly error: PresenceError }
  /** A pong, or something that a newer server says. */
  | { readonly t: 'other' };

type Raw = Record<string, unknown>;

/** What came is no frame of this interface. @internal */
export function malformed(what: string): PresenceError {
  return new PresenceError({ reason: 'PROTOCOL', message: `the server sent what this client does not understand: ${what}` });
}

/** Reads one frame; throws a PresenceError. @internal */
export function decode(text: unknown): Frame {
  if (typeof text !== 'string') throw malformed('a binary message');
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    throw malformed('no JSON');
  }
  const f = object(raw, 'a frame');
  switch (f['t']) {
    case 'welcome':
      return { t: 'welcome', welcome: welcome(f) };
    case 'n': {
      const list = Array.isArray(f['n']) ? f['n'] : [];
      return { t: 'n', q: whole(f['q']), news: list.map(news).filter((n) => n !== undefined), count: list.length };
    }
    case 'm':
      return { t: 'm', notifications: (Array.isArray(f['m']) ? f['m'] : []).map(notification) };
    case 'topic':
      return { t: 'topic', messages: f['missed'] === true ? undefined : list(f['m']).map(topicMessage) };
    case 'ok':
      return {
        t: 'ok', id: whole(f['id']), answer: {
          rejected: strings(f['rejected']), users: list(f['users']), attributes: list(f['attributes']).map(attribute),
          changed: typeof f['changed'] === 'number' ? f['changed'] : 0,
        },
      };
    case 'error':
      return { t: 'error', id: typeof f['id'] === 'number' ? f['id'] : undefined, part: string(f['part']), error: fault(f) };
    case 'bye':
      return { t: 'bye', error: fault(f, closings[string(f['why'])]) };
    default:
      return { t: 'other' };
  }
}

function list(raw: unknown): readonly unknown[] {
  return Array.isArray(raw) ? raw : [];
}

function attribute(raw: unknown): Attribute {
  const a = object(raw, 'an attribute');
  return Object.freeze({ name: string(a['name']), value: a['value'] ?? null, at: whole(a['at']) });
}

function topicMessage(raw: unknown): TopicMessage {
  const m = object(raw, 'a topic message');
  return Object.freeze({ topic: string(m['topic']), user: string(m['u']), ...attribute(m), inCall: m['in_call'] === true });
}

function notification(raw: unknown): LiveNotification {
  const m = object(raw, 'a notification');
  return Object.freeze({
    id: string(m['id']), message: string(m['message']), at: whole(m['at']), ...optional(m, 'publisher'), ...optional(m, 'source'), ...optional(m, 'action'),
    ...(typeof m['until'] === 'number' && { until: m['until'] }),
  });
}

function welcome(f: Raw): Welcome {
  const limits = typeof f['limits'] === 'object' && f['limits'] !== null ? (f['limits'] as Raw) : {};
  if (string(f['resume']) === '') throw malformed('a welcome without a resume token');
  return {
    session: string(f['session']), resume: string(f['resume']), resumed: f['resumed'] === true, resync: f['resync'] === true,
    q: whole(f['q']), heartbeat: span(f['heartbeat']), batch: whole(limits['batch']), rejected: strings(f['rejected']),
  };
}

function news(raw: unknown): News | undefined {
  const n = object(raw, 'news');
  switch (n['k']) {
    case 'done':
      return { kind: 'done', user: n['user'] === undefined ? undefined : string(n['user']), friends: n['friends'] === true };
    case 'ended':
      return { kind: 'ended', user: string(n['u']), unfriended: n['why'] === 'NO_LONGER_FRIEND' };
    case 'current': case 'opened': case 'updated': case 'closed': case 'none': {
      const session = n['s'] === undefined ? undefined : userSession(n['s']);
      if (session === undefined && n['k'] !== 'none') throw malformed('news without a session');
      const why = n['s'] === undefined ? '' : string((n['s'] as Raw)['why']);
      return {
        kind: n['k'], user: string(n['u']), on: n['on'] === true, seen: typeof n['seen'] === 'number' ? n['seen'] : undefined,
        session, why: why === '' ? undefined : why, ...(typeof n['stale'] === 'number' && { stale: n['stale'] }),
      };
    }
    default:
      return undefined; // of a newer server; its number counts all the same
  }
}

function userSession(raw: unknown): UserSession {
  const s = object(raw, 'a session');
  if (string(s['id']) === '') throw malformed('a session without an id');
  const properties = s['properties'];
  return freeze({
    id: string(s['id']),
    ...optional(s, 'platform'), ...optional(s, 'product'),
    show: (string(s['show']) || 'online') as Show,
    ...optional(s, 'text'), ...optional(s, 'locale'),
    ...(typeof properties === 'object' && properties !== null && { properties: properties as Record<string, string> }),
    connectedAt: whole(s['since']), updatedAt: whole(s['at']),
  });
}

/** A user of an answer to `get`. @internal */
export function asked(raw: unknown): Presence & { readonly unknown: boolean } {
  const u = object(raw, 'a user');
  const sessions = Array.isArray(u['sessions']) ? u['sessions'].map(userSession).sort(oldestFirst) : [];
  return Object.freeze({
    user: string(u['u']), available: u['on'] === true, ...(typeof u['seen'] === 'number' && { lastSeen: u['seen'] }),
    ...(typeof u['stale'] === 'number' && { staleSince: u['stale'] }),
    sessions: Object.freeze(sessions), unknown: u['unknown'] === true,
  });
}

/**
 * Closings of our own session that another attempt does not defy: in place of
 * SESSION_CLOSED, these reasons.
 */
const closings: Readonly<Record<string, string>> = { EXPIRED: 'TOKEN_EXPIRED', DISCONNECTED: 'LINK_DOWN', HEARTBEAT: 'LINK_DOWN' };

function fault(f: Raw, instead?: string): PresenceError {
  const fields = (Array.isArray(f['fields']) ? f['fields'] : []).map((raw): Field => {
    const field = object(raw, 'a field');
    return { path: string(field['path']), message: string(field['message']) };
  });
  const reason = instead ?? (string(f['reason']) || 'LINK_DOWN');
  const why = string(f['why']);
  return new PresenceError({
    reason, fields, retryAfter: span(f['retry_after']),
    message: string(f['message']) || `the server said ${reason}${why && `, ${why}`}`,
  });
}

function object(raw: unknown, what: string): Raw {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) throw malformed(`${what} that is no object`);
  return raw as Raw;
}

function string(raw: unknown): string {
  return typeof raw === 'string' ? raw : '';
}

function strings(raw: unknown): readonly string[] {
  return Array.isArray(raw) ? raw.filter((v) => typeof v === 'string') : [];
}

function whole(raw: unknown): number {
  return typeof raw === 'number' && raw > 0 ? Math.floor(raw) : 0;
}

/** A length of time; a timer of more than 24 days would fire at once. */
function span(raw: unknown): number {
  return Math.min(whole(raw), 86_400_000);
}

function optional<K extends string>(raw: Raw, key: K): { [P in K]?: string } {
  const value = raw[key];
  return typeof value === 'string' && value !== '' ? ({ [key]: value } as { [P in K]: string }) : {};
}
