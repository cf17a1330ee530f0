// A device as another program would write it: @grpc/grpc-js and the published
// .proto, nothing of ours. The server's address and the program that prints
// tokens come in the environment (see ../conformance_test.go).

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';
import protobuf from 'protobufjs';

const address = need('PORCHLIGHT_GRPC');
const program = need('PORCHLIGHT_PROGRAM');
const api = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../../api');

// No answer in this time is a failure; it bounds waiting, it measures nothing.
const patience = 20_000;

function need(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run these tests with go test ./test/conformance`);
  return value;
}

const definition = protoLoader.loadSync('isonline/v1/isonline.proto', {
  includeDirs: [api],
  keepCase: true,
  longs: Number,
  enums: String,
  defaults: true,
  oneofs: true,
});
const { IsOnlineService } = grpc.loadPackageDefinition(definition).isonline.v1;

/** A user id that no other test uses. */
export function someone(name) {
  return `node-${name}-${process.pid}-${(someone.count = (someone.count ?? 0) + 1)}`;
}

/** The access token of a user, as the command line prints it. */
export function tokenFor(user, ...flags) {
  return execFileSync(program, ['token', '--app', 'demo', '--user', user, ...flags], { encoding: 'utf8' }).trim();
}

export function bearer(token) {
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}

const open = new Set();
const streams = new Set();

/** One connection to the server, closed at the end of the process's tests. */
export function dial(options = {}) {
  // A pool of their own, or two connections with equal options would share one.
  const stub = new IsOnlineService(address, grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    ...options,
  });
  open.add(stub);
  return stub;
}

/** Ends what is open, or the process would wait for it. */
export function hangUp() {
  for (const stream of streams) stream.raw.cancel();
  for (const stub of open) stub.close();
}

/** Calls a unary method and returns its answer, or throws the gRPC error. */
export function call(stub, metadata, method, request = {}) {
  return new Promise((resolve, reject) => {
    const deadline = new Date(Date.now() + patience);
    stub[method](request, metadata, { deadline }, (err, answer) => (err ? reject(err) : resolve(answer)));
  });
}

/** One session of one user: the calls that need its token, and its stream. */
export class Device {
  constructor(user, { stub = dial(), token = tokenFor(user) } = {}) {
    this.user = user;
    this.stub = stub;
    this.metadata = bearer(token);
  }

  /** Makes the session; it is invisible until connect. */
  async make(client = {}) {
    this.made = await this.call('MakeIsOnlineSession', {
      client: { platform: 'node', product: 'conformance', locale: 'en_US', ...client },
    });
    this.token = this.made.session_token;
    return this;
  }

  /** Opens the stream and waits for its first event. */
  async connect({ initial, resume_after } = {}) {
    const request = { session_token: this.token, initial };
    if (resume_after !== undefined) request.resume_after = resume_after;
    this.stream = new Stream(this.stub.ConnectToIsOnlineSession(request, this.metadata));
    this.connected = await this.stream.next('connected');
    return this;
  }

  /** A unary call with the access token alone. */
  call(method, request) {
    return call(this.stub, this.metadata, method, request);
  }

  /** A unary call on the session. */
  on(method, request = {}) {
    return this.call(method, { session_token: this.token, ...request });
  }

  subscribe(user_id) {
    return this.on('SubscribeToUserIsOnline', { user_id });
  }

  update(update) {
    return this.on('UpdateIsOnlineSession', { update });
  }

  close(mode) {
    return this.on('CloseIsOnlineSession', mode ? { mode } : {});
  }
}

/** A session that is made and connected. */
export async function online(user, { client, initial, ...rest } = {}) {
  const device = new Device(user, rest);
  await device.make(client);
  return device.connect({ initial });
}

/** The events of one stream, in order, as something a test can wait for. */
export class Stream {
  constructor(raw) {
    this.raw = raw;
    streams.add(this);
    this.events = []; // read, but not asked for yet
    this.sequence = 0;
    this.waiting = null;
    this.ended = new Promise((resolve) => {
      raw.on('error', () => {}); // comes as a status too
      raw.on('status', (status) => {
        this.status = status;
        this.wake();
        resolve(status);
      });
    });
    raw.on('data', (event) => {
      // Numbers are the session's: those of a stream that was replaced end where
      // its successor's began, and its goodbye is no part of either.
      if (this.sequence && event.event !== 'closing' && event.sequence !== this.sequence + 1) this.gap ??= event.sequence;
      this.sequence = event.sequence;
      if (event.event !== 'keep_alive') this.events.push(event);
      this.wake();
    });
  }

  wake() {
    this.waiting?.();
    this.waiting = null;
  }

  /** Ends the call from this side without a word to the server's session. */
  cancel() {
    this.raw.cancel();
    return this.ended;
  }

  /** The next event, which must be of the given kind; its content. */
  async next(kind) {
    if (this.events.length === 0 && !this.status) await this.more(kind);
    const event = this.events.shift();
    if (!event) throw new Error(`the stream ended with ${statusText(this.status)}, want ${kind}`);
    if (this.gap) throw new Error(`sequence ${this.gap} leaves a gap`);
    if (event.event !== kind) throw new Error(`got ${JSON.stringify(event)}, want ${kind}`);
    return event[kind];
  }

  more(kind) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${kind} within ${patience} ms`)), patience);
      this.waiting = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** What is sent when watching a user begins: notifications up to the mark. */
  async snapshot(user_id) {
    const notifications = [];
    for (;;) {
      if (this.events.length === 0) await this.more(`snapshot of ${user_id}`);
      if (this.events[0]?.event === 'snapshot_done') break;
      const n = await this.next('notification');
      if (n.user_id !== user_id) throw new Error(`got a notification of ${n.user_id}, want ${user_id}`);
      notifications.push(n);
    }
    const done = await this.next('snapshot_done');
    if (done.user_id !== user_id) throw new Error(`got snapshot_done of ${done.user_id}, want ${user_id}`);
    return notifications;
  }
}

function statusText(status) {
  return status ? `${grpc.status[status.code]} ${status.details}` : 'nothing';
}

const details = protobuf.parse(`
  syntax = "proto3";
  package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message FieldViolation { string field = 1; string description = 2; }
  message BadRequest { repeated FieldViolation field_violations = 1; }
`, { keepCase: true }).root;

/** The code of a gRPC error and what its details say, decoded. */
export function explain(err) {
  const out = { code: grpc.status[err.code], message: err.details };
  const [packed] = err.metadata?.get('grpc-status-details-bin') ?? [];
  if (!packed) return out;
  for (const any of details.lookupType('google.rpc.Status').decode(packed).details) {
    const name = any.type_url.split('/').pop();
    if (name === 'google.rpc.ErrorInfo') {
      const { reason, domain } = details.lookupType(name).decode(any.value);
      Object.assign(out, { reason, domain });
    }
    if (name === 'google.rpc.BadRequest') {
      out.fields = details.lookupType(name).decode(any.value).field_violations.map((v) => v.field);
    }
  }
  return out;
}
