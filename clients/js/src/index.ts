/**
 * Presence in browsers and Node: who is online, and being online, over
 * Porchlight's live door.
 *
 * @packageDocumentation
 */

export type { Backoff } from './backoff.ts';
export { type Field, PresenceError, type Reason } from './errors.ts';
export type { SocketClass, SocketLike } from './link.ts';
export { type LiveNotification, actionLink } from './notification.ts';
export type { Device, SessionOptions } from './options.ts';
export type { Change, CloseReason, Presence, Step, UserSession } from './presence.ts';
export { PresenceSession } from './session.ts';
export type { SessionSnapshot } from './snapshot.ts';
export type { Patch, Reference, Show, Status, Value } from './status.ts';
export type { PresenceStore } from './store.ts';
export type { Attribute, TopicMessage } from './topics.ts';
