// A device as a web page or a program would write it: @connectrpc/connect over
// the HTTP port, with the interface's descriptors, nothing of ours. It runs in
// Node and, bundled, in a browser.

import { createClient, ConnectError, Code } from '@connectrpc/connect';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

export { Code };

/** What the descriptors (a FileDescriptorSet's bytes) describe. */
export function api(descriptors) {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));
  return { registry, service: registry.getService('isonline.v1.IsOnlineService') };
}

/** The code of an error, and what its details say. */
export function explain({ registry }, err) {
  const e = ConnectError.from(err);
  const [info] = e.findDetails(registry.getMessage('google.rpc.ErrorInfo'));
  const [bad] = e.findDetails(registry.getMessage('google.rpc.BadRequest'));
  return { code: Code[e.code], reason: info?.reason, domain: info?.domain, fields: bad?.fieldViolations.map((v) => v.field), message: e.rawMessage };
}

/** One session of one user over a transport. */
export class WebDevice {
  constructor(api, transport, token) {
    this.api = api;
    this.client = createClient(api.service, transport);
    this.options = { headers: { authorization: `Bearer ${token}` } };
  }

  /** Makes the session; it is invisible until connect. */
  async make(platform = 'web') {
    this.made = await this.client.makeIsOnlineSession({ client: { platform, product: 'conformance', locale: 'en-US' } }, this.options);
    this.sessionToken = this.made.sessionToken;
    return this;
  }

  /** A unary call on the session. */
  on(method, request = {}) {
    return this.client[method]({ sessionToken: this.sessionToken, ...request }, this.options);
  }

  /** Opens the stream and hands each message on; resolves with its end. */
  connect(hear, request = {}) {
    this.cut = new AbortController();
    const stream = this.client.connectToIsOnlineSession(
      { sessionToken: this.sessionToken, ...request },
      { ...this.options, signal: this.cut.signal },
    );
    return (async () => {
      try {
        for await (const { event } of stream) hear(event);
        return { code: 'OK' };
      } catch (err) {
        return explain(this.api, err);
      }
    })();
  }
}

/** Messages of a stream, in order, as something a test can wait for. */
export class Heard {
  constructor(patience = 20_000) {
    this.patience = patience;
    this.events = [];
    this.hear = (event) => {
      if (event.case === 'keepAlive') return;
      this.events.push(event);
      this.waiting?.();
    };
  }

  /** The next message, which must be of the given kind; its content. */
  async next(kind) {
    if (this.events.length === 0) {
      await new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no ${kind} within ${this.patience} ms`)), this.patience);
        this.waiting = () => {
          clearTimeout(timer);
          this.waiting = undefined;
          resolve();
        };
      });
    }
    const event = this.events.shift();
    if (event.case !== kind) throw new Error(`got ${event.case}, want ${kind}`);
    return event.value;
  }
}
