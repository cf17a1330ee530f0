// What a web page runs in browser.mjs: a device on @connectrpc/connect-web. The
// test calls it through window.porchlight.

import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-web';
import { api, explain, WebDevice } from './web.mjs';

const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const plain = (event) => JSON.parse(JSON.stringify(event, (_, v) => (typeof v === 'bigint' ? String(v) : v)));

let device;
const events = [];

window.porchlight = {
  events,

  /** Signs in and opens the stream; a page that was loaded anew goes on with its session. */
  async start({ baseUrl, token, descriptors, dialect, beat }) {
    const options = { baseUrl, useBinaryFormat: dialect !== 'connect-json' };
    const transport = dialect === 'grpc-web' ? createGrpcWebTransport(options) : createConnectTransport(options);
    device = new WebDevice(api(bytes(descriptors)), transport, token);
    device.sessionToken = sessionStorage.getItem('session');
    if (!device.sessionToken) {
      await device.make();
      sessionStorage.setItem('session', device.sessionToken);
    }
    device.connect((event) => events.push(plain(event))).then((end) => events.push({ case: 'end', value: end }));
    // Over HTTP/1.1 a page must say that it is there.
    if (beat) setInterval(() => device.on('heartbeatIsOnlineSession'), beat);
  },

  async call(method, request) {
    return plain(await device.on(method, request));
  },

  /** Asks once, and returns what happened. */
  async ask({ baseUrl, token, descriptors, userId }) {
    const isonline = api(bytes(descriptors));
    const d = new WebDevice(isonline, createConnectTransport({ baseUrl }), token);
    try {
      return plain(await d.client.getUserIsOnline({ userId }, d.options));
    } catch (err) {
      return explain(isonline, err);
    }
  },
};
