// src/errors.ts
var lost = /* @__PURE__ */ new Set(["SESSION_GONE", "SESSION_TOKEN_INVALID", "SESSION_TOKEN_NOT_YOURS"]);
var definite = /* @__PURE__ */ new Set([
  "JWT_INVALID",
  "FIELD_INVALID",
  "FRAME_INVALID",
  "ORIGIN_REFUSED",
  "REPLACED_STREAM",
  "SESSION_CLOSED",
  "WATCH_REJECTED",
  "CLOSED",
  "LIMIT_SUBSCRIPTIONS",
  "LIMIT_BATCH",
  "LIMIT_FRIENDS"
]);
var PresenceError = class extends Error {
  /** Why, as a word. */
  reason;
  /** The violated rules (`FIELD_INVALID` and `WATCH_REJECTED` only). */
  fields;
  /** How many milliseconds the server asks to be left alone; 0 when it does not. */
  retryAfter;
  /** @internal */
  constructor(fault2) {
    super(fault2.message, fault2.cause === void 0 ? void 0 : { cause: fault2.cause });
    this.name = "PresenceError";
    this.reason = fault2.reason;
    this.fields = fault2.fields ?? [];
    this.retryAfter = fault2.retryAfter ?? 0;
  }
  /** Whether the very same call may succeed later. */
  get temporary() {
    return !definite.has(this.reason);
  }
  /** Whether the session that was resumed is no more. @internal */
  get lost() {
    return lost.has(this.reason);
  }
};

// src/notification.ts
function actionLink(notification2) {
  const { action } = notification2;
  return action !== void 0 && /^https?:\/\/[^\s/?#\\]\S*$/i.test(action) ? action : void 0;
}
var most = 512;
var Notifications = class {
  #seen = /* @__PURE__ */ new Set();
  #tell;
  constructor(tell) {
    this.#tell = tell;
  }
  take(list2) {
    for (const n of list2) {
      const name = JSON.stringify([n.publisher ?? "", n.id]);
      if (this.#seen.has(name)) continue;
      this.#seen.add(name);
      if (this.#seen.size > most) for (const oldest of this.#seen) {
        this.#seen.delete(oldest);
        break;
      }
      this.#tell(n);
    }
  }
};

// src/options.ts
function address(url, insecure) {
  if (typeof url !== "string") throw new TypeError(`url ${JSON.stringify(url)}: want wss://host/live or https://host`);
  const parts = /^(wss?|https?):\/\/([^/?#]+)([^?#]*)(\?[^#]*)?$/i.exec(url);
  if (parts === null) throw new TypeError(`url ${JSON.stringify(url)}: want wss://host/live or https://host`);
  const [, scheme = "", host = "", path = "", query = ""] = parts;
  if (host.includes("@")) throw new TypeError("url: a user name and password do not belong there; the token option says who it is");
  const secure = /^(wss|https)$/i.test(scheme);
  if (!secure && !insecure && !loopback.test(host)) {
    throw new TypeError(`url ${JSON.stringify(url)}: without TLS the access token could be read on the way: use wss://, or set insecure to allow it`);
  }
  return `${secure ? "wss" : "ws"}://${host}${path === "" || path === "/" ? "/live" : path}${query}`;
}
var loopback = /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/i;
function checkUsers(users) {
  for (const user of users) {
    if (typeof user !== "string" || user === "" || bytes(user) > 128) {
      throw new TypeError(`user id ${JSON.stringify(user)}: want a string of 1 to 128 bytes`);
    }
  }
}
function bytes(text) {
  let n = 0;
  for (const c of text) {
    const code = c.codePointAt(0) ?? 0;
    if (code >= 55296 && code <= 57343) return Infinity;
    n += code < 128 ? 1 : code < 2048 ? 2 : code < 65536 ? 3 : 4;
  }
  return n;
}

// src/addresses.ts
var itsOwn = /* @__PURE__ */ new Set([
  "LINK_DOWN",
  "SILENT",
  "DRAINING",
  "NODE_UNAVAILABLE",
  "LOG_UNAVAILABLE",
  "FRIENDS_UNAVAILABLE",
  "KEYS_UNAVAILABLE"
]);
var Addresses = class {
  #list;
  #at = 0;
  #unanswered = 0;
  // tries in a row that nobody answered, since the last pause
  constructor(urls, insecure) {
    const list2 = typeof urls === "string" ? [urls] : urls;
    if (!Array.isArray(list2) || list2.length === 0) throw new TypeError("url: want an address, or a list of at least one");
    this.#list = list2.map((url) => address(url, insecure));
  }
  /** The one that is used. */
  get now() {
    return this.#list[this.#at] ?? "";
  }
  /**
   * A link to the one that is used was refused or not answered for `reason`, or,
   * when it was `up`, ended. Reports whether the next one is to be tried without a
   * pause: nobody answered, and there are addresses that were not tried since the
   * last pause.
   */
  failed(reason, up) {
    if (!itsOwn.has(reason) || up && reason !== "DRAINING") return false;
    this.#at = (this.#at + 1) % this.#list.length;
    const answered = up || reason !== "LINK_DOWN" && reason !== "SILENT";
    if (answered || ++this.#unanswered >= this.#list.length) {
      this.#unanswered = 0;
      return false;
    }
    return true;
  }
  /** The one that is used took the session. */
  held() {
    this.#unanswered = 0;
  }
};

// src/backoff.ts
function pause(b, failures, asked2, random) {
  if (asked2 > 0 && failures <= 1) return asked2;
  const first = b.first ?? 1e3;
  const longest = Math.min(Math.max(b.max ?? 3e4, first), first * 2 ** (failures - 1));
  return Math.max(longest / 2 + random() * longest / 2, asked2);
}

// src/clock.ts
var clock = {
  now: () => Date.now(),
  after: (ms, then) => {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random()
};
function call(listener) {
  try {
    listener();
  } catch (err) {
    queueMicrotask(() => {
      throw err;
    });
  }
}

// src/presence.ts
function same(a, b) {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}
function oldestFirst(a, b) {
  return a.connectedAt - b.connectedAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

// src/status.ts
function patched(status, patch) {
  const out = { ...status };
  if (patch.show !== void 0) out.show = patch.show;
  if (patch.invisible !== void 0) out.invisible = patch.invisible;
  if (patch.text === null) delete out.text;
  else if (patch.text !== void 0) out.text = patch.text;
  if (patch.properties !== void 0) {
    const properties = new Map(Object.entries(status.properties ?? {}));
    for (const [key, value] of Object.entries(patch.properties)) {
      if (value === null) properties.delete(key);
      else if (value !== void 0) properties.set(key, value);
    }
    out.properties = Object.fromEntries(properties);
  }
  return freeze(out);
}
function merged(first, next) {
  const properties = { ...first.properties, ...next.properties };
  return { ...first, ...next, ...Object.keys(properties).length > 0 && { properties } };
}
function patchFrame(patch) {
  const { text, properties, ...rest } = patch;
  const status = { ...rest };
  const frame = { t: "patch", status };
  if (text === null) frame["clear_text"] = true;
  else if (text !== void 0) status["text"] = text;
  if (properties !== void 0) {
    const entries = Object.entries(properties);
    const clear = entries.filter(([, value]) => value === null).map(([key]) => key);
    if (clear.length > 0) frame["clear"] = clear;
    if (clear.length < entries.length) status["properties"] = Object.fromEntries(entries.filter(([, value]) => value !== null));
  }
  return frame;
}
function freeze(value) {
  if (Array.isArray(value)) return Object.freeze(value.map(freeze));
  if (typeof value !== "object" || value === null) return value;
  const copy = {};
  for (const [key, v] of Object.entries(value)) Object.defineProperty(copy, key, { value: freeze(v), enumerable: true });
  return Object.freeze(copy);
}

// src/wire.ts
var protocol = "porchlight.v1";
function malformed(what) {
  return new PresenceError({ reason: "PROTOCOL", message: `the server sent what this client does not understand: ${what}` });
}
function decode(text) {
  if (typeof text !== "string") throw malformed("a binary message");
  let raw;
  try {
    raw = JSON.parse(text);
  } catch {
    throw malformed("no JSON");
  }
  const f = object(raw, "a frame");
  switch (f["t"]) {
    case "welcome":
      return { t: "welcome", welcome: welcome(f) };
    case "n": {
      const list2 = Array.isArray(f["n"]) ? f["n"] : [];
      return { t: "n", q: whole(f["q"]), news: list2.map(news).filter((n) => n !== void 0), count: list2.length };
    }
    case "m":
      return { t: "m", notifications: (Array.isArray(f["m"]) ? f["m"] : []).map(notification) };
    case "topic":
      return { t: "topic", messages: f["missed"] === true ? void 0 : list(f["m"]).map(topicMessage) };
    case "ok":
      return {
        t: "ok",
        id: whole(f["id"]),
        answer: {
          rejected: strings(f["rejected"]),
          users: list(f["users"]),
          attributes: list(f["attributes"]).map(attribute),
          changed: typeof f["changed"] === "number" ? f["changed"] : 0
        }
      };
    case "error":
      return { t: "error", id: typeof f["id"] === "number" ? f["id"] : void 0, part: string(f["part"]), error: fault(f) };
    case "bye":
      return { t: "bye", error: fault(f, closings[string(f["why"])]) };
    default:
      return { t: "other" };
  }
}
function list(raw) {
  return Array.isArray(raw) ? raw : [];
}
function attribute(raw) {
  const a = object(raw, "an attribute");
  return Object.freeze({ name: string(a["name"]), value: a["value"] ?? null, at: whole(a["at"]) });
}
function topicMessage(raw) {
  const m = object(raw, "a topic message");
  return Object.freeze({ topic: string(m["topic"]), user: string(m["u"]), ...attribute(m), inCall: m["in_call"] === true });
}
function notification(raw) {
  const m = object(raw, "a notification");
  return Object.freeze({
    id: string(m["id"]),
    message: string(m["message"]),
    at: whole(m["at"]),
    ...optional(m, "publisher"),
    ...optional(m, "source"),
    ...optional(m, "action"),
    ...typeof m["until"] === "number" && { until: m["until"] }
  });
}
function welcome(f) {
  const limits = typeof f["limits"] === "object" && f["limits"] !== null ? f["limits"] : {};
  if (string(f["resume"]) === "") throw malformed("a welcome without a resume token");
  return {
    session: string(f["session"]),
    resume: string(f["resume"]),
    resumed: f["resumed"] === true,
    resync: f["resync"] === true,
    q: whole(f["q"]),
    heartbeat: span(f["heartbeat"]),
    batch: whole(limits["batch"]),
    rejected: strings(f["rejected"])
  };
}
function news(raw) {
  const n = object(raw, "news");
  switch (n["k"]) {
    case "done":
      return { kind: "done", user: n["user"] === void 0 ? void 0 : string(n["user"]), friends: n["friends"] === true };
    case "ended":
      return { kind: "ended", user: string(n["u"]), unfriended: n["why"] === "NO_LONGER_FRIEND" };
    case "current":
    case "opened":
    case "updated":
    case "closed":
    case "none": {
      const session = n["s"] === void 0 ? void 0 : userSession(n["s"]);
      if (session === void 0 && n["k"] !== "none") throw malformed("news without a session");
      const why = n["s"] === void 0 ? "" : string(n["s"]["why"]);
      return {
        kind: n["k"],
        user: string(n["u"]),
        on: n["on"] === true,
        seen: typeof n["seen"] === "number" ? n["seen"] : void 0,
        session,
        why: why === "" ? void 0 : why,
        ...typeof n["stale"] === "number" && { stale: n["stale"] }
      };
    }
    default:
      return void 0;
  }
}
function userSession(raw) {
  const s = object(raw, "a session");
  if (string(s["id"]) === "") throw malformed("a session without an id");
  const properties = s["properties"];
  return freeze({
    id: string(s["id"]),
    ...optional(s, "platform"),
    ...optional(s, "product"),
    show: string(s["show"]) || "online",
    ...optional(s, "text"),
    ...optional(s, "locale"),
    ...typeof properties === "object" && properties !== null && { properties },
    connectedAt: whole(s["since"]),
    updatedAt: whole(s["at"])
  });
}
function asked(raw) {
  const u = object(raw, "a user");
  const sessions = Array.isArray(u["sessions"]) ? u["sessions"].map(userSession).sort(oldestFirst) : [];
  return Object.freeze({
    user: string(u["u"]),
    available: u["on"] === true,
    ...typeof u["seen"] === "number" && { lastSeen: u["seen"] },
    ...typeof u["stale"] === "number" && { staleSince: u["stale"] },
    sessions: Object.freeze(sessions),
    unknown: u["unknown"] === true
  });
}
var closings = { EXPIRED: "TOKEN_EXPIRED", DISCONNECTED: "LINK_DOWN", HEARTBEAT: "LINK_DOWN" };
function fault(f, instead) {
  const fields = (Array.isArray(f["fields"]) ? f["fields"] : []).map((raw) => {
    const field = object(raw, "a field");
    return { path: string(field["path"]), message: string(field["message"]) };
  });
  const reason = instead ?? (string(f["reason"]) || "LINK_DOWN");
  const why = string(f["why"]);
  return new PresenceError({
    reason,
    fields,
    retryAfter: span(f["retry_after"]),
    message: string(f["message"]) || `the server said ${reason}${why && `, ${why}`}`
  });
}
function object(raw, what) {
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) throw malformed(`${what} that is no object`);
  return raw;
}
function string(raw) {
  return typeof raw === "string" ? raw : "";
}
function strings(raw) {
  return Array.isArray(raw) ? raw.filter((v) => typeof v === "string") : [];
}
function whole(raw) {
  return typeof raw === "number" && raw > 0 ? Math.floor(raw) : 0;
}
function span(raw) {
  return Math.min(whole(raw), 864e5);
}
function optional(raw, key) {
  const value = raw[key];
  return typeof value === "string" && value !== "" ? { [key]: value } : {};
}

// src/link.ts
var welcomeLimit = 15e3;
var answerLimit = 15e3;
var pongLimit = 1e4;
var doubtLimit = 4e3;
var closeCodes = {
  1001: "DRAINING",
  1002: "PROTOCOL",
  1007: "PROTOCOL",
  1009: "FRAME_INVALID",
  4400: "FRAME_INVALID",
  4401: "JWT_EXPIRED",
  4403: "ORIGIN_REFUSED",
  4408: "NO_HELLO",
  4409: "REPLACED_STREAM",
  4410: "SESSION_GONE",
  4413: "SLOW_CONSUMER",
  4429: "RATE_LIMITED"
};
var Link = class {
  #socket;
  #p;
  #last = 0;
  // the newest request's id
  #waiting = /* @__PURE__ */ new Map();
  #heard = 0;
  // when
  #sequence = 0;
  #heartbeat = 0;
  #stopGuard = () => {
  };
  #stopProbe;
  // while an answer to a ping is awaited
  #probeUntil = 0;
  #over = false;
  #up = false;
  constructor(p) {
    this.#p = p;
    this.#stopGuard = p.clock.after(welcomeLimit, () => this.#silent());
    let socket;
    try {
      socket = new p.socket(p.url, [protocol]);
    } catch (err) {
      this.#stopGuard = p.clock.after(0, () => this.end(new PresenceError({ reason: "LINK_DOWN", message: `cannot connect: ${String(err)}`, cause: err })));
      return;
    }
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#send(p.hello);
    };
    socket.onmessage = (event) => this.#message(event.data);
    socket.onerror = () => {
      if (!opened) this.#closed(1006);
    };
    socket.onclose = (event) => this.#closed(event.code);
  }
  /** Whether the welcome came and the link has not ended since. */
  get up() {
    return this.#up && !this.#over;
  }
  /** Sends a request; its answer, or why there is none. */
  request(frame) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      if (!this.up) {
        reject(new PresenceError({ reason: "LINK_DOWN", message: "there is no link to the server now" }));
        return;
      }
      this.#waiting.set(id, { resolve, reject, stop: this.#p.clock.after(answerLimit, () => this.#silent()) });
      this.#send({ ...frame, id });
    });
  }
  /** Says goodbye; the server's answer is the end. */
  bye(mode) {
    this.#send({ t: "bye", mode });
  }
  /** Finds out soon whether the link is still there. */
  doubt() {
    if (this.up) this.#ping(doubtLimit);
  }
  /** Ends the link from this side. */
  end(error) {
    if (this.#over) return;
    this.#over = true;
    this.#stopGuard();
    this.#stopProbe?.();
    const socket = this.#socket;
    if (socket !== void 0) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      if (socket.readyState <= 1) socket.close();
    }
    for (const waiting of this.#waiting.values()) {
      waiting.stop();
      waiting.reject(new PresenceError({ reason: "LINK_DOWN", message: `the link was lost before the answer: ${error.message}`, cause: error }));
    }
    this.#waiting.clear();
    this.#p.owner.ended(error);
  }
  #send(frame) {
    if (!this.#over && this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }
  #message(text) {
    this.#heard = this.#p.clock.now();
    this.#stopProbe?.();
    this.#stopProbe = void 0;
    try {
      this.#take(text);
    } catch (err) {
      this.end(err instanceof PresenceError ? err : malformed(String(err)));
    }
  }
  #take(text) {
    const frame = decode(text);
    switch (frame.t) {
      case "welcome":
        return this.#welcomed(frame.welcome);
      case "n":
        if (!this.#up || frame.q - frame.count !== this.#sequence) throw malformed(`news up to number ${frame.q} after ${this.#sequence}`);
        this.#sequence = frame.q;
        return this.#p.owner.news(frame.news, frame.q);
      case "m":
        return this.#p.owner.notified(frame.notifications);
      case "topic":
        return this.#p.owner.topics(frame.messages);
      case "ok":
        return this.#answered(frame.id)?.resolve(frame.answer);
      case "error":
        if (frame.part !== "") return this.#p.owner.partFailed(frame.part, frame.error);
        if (frame.id === void 0) return;
        return this.#answered(frame.id)?.reject(frame.error);
      case "bye":
        return this.end(frame.error);
    }
  }
  #welcomed(welcome2) {
    if (this.#up) throw malformed("a second welcome");
    this.#up = true;
    this.#sequence = welcome2.q;
    this.#heartbeat = welcome2.heartbeat;
    this.#stopGuard();
    this.#stopGuard = () => {
    };
    this.#watchSilence();
    this.#p.owner.welcomed(welcome2);
  }
  #answered(id) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    waiting?.stop();
    return waiting;
  }
  /** A page cannot see the server's pings, so it asks when it heard nothing. */
  #watchSilence() {
    if (this.#heartbeat === 0 || this.#over) return;
    const rest = this.#heard + this.#heartbeat - this.#p.clock.now();
    if (rest <= 0) this.#ping(pongLimit);
    this.#stopGuard = this.#p.clock.after(rest > 0 ? rest : this.#heartbeat, () => this.#watchSilence());
  }
  #ping(limit2) {
    const until = this.#p.clock.now() + limit2;
    if (this.#stopProbe === void 0 || until < this.#probeUntil) {
      this.#stopProbe?.();
      this.#stopProbe = this.#p.clock.after(limit2, () => this.#silent());
      this.#probeUntil = until;
    }
    this.#send({ t: "ping" });
  }
  #silent() {
    this.end(new PresenceError({ reason: "SILENT", message: "the server was silent for too long" }));
  }
  #closed(code) {
    const reason = closeCodes[code] ?? "LINK_DOWN";
    this.end(new PresenceError({
      reason,
      message: this.#up ? `the link was lost (close code ${code})` : `the server cannot be reached, or refused the link (close code ${code}); is the address right, and a page's origin in cors.origins of its app?`
    }));
  }
};

// src/page.ts
function here() {
  const { window, document, navigator } = globalThis;
  const web = window !== void 0 && document !== void 0;
  const locale = navigator?.language;
  return {
    onWake: (then) => {
      const visible = () => {
        if (document?.visibilityState === "visible") then();
      };
      return all(on(window, "online", then), on(document, "visibilitychange", visible));
    },
    onOffline: (then) => on(window, "offline", then),
    onHide: (then) => on(window, "pagehide", then),
    onShow: (then) => on(window, "pageshow", (event) => event.persisted === true && then()),
    storage: storage(),
    device: { platform: web ? "web" : globalThis.process?.versions?.node !== void 0 ? "node" : "", ...locale !== void 0 && { locale } }
  };
}
function storage() {
  try {
    return globalThis.window === void 0 ? void 0 : globalThis.sessionStorage;
  } catch {
    return void 0;
  }
}
function on(target, name, then) {
  target?.addEventListener(name, then);
  return () => target?.removeEventListener(name, then);
}
function all(...leave) {
  return () => leave.forEach((f) => f());
}

// src/remember.ts
function keep(storage2, name, what) {
  try {
    storage2?.setItem(name, JSON.stringify(what));
  } catch {
  }
}
function recall(storage2, name) {
  try {
    const text = storage2?.getItem(name);
    if (text === null || text === void 0) return void 0;
    storage2?.removeItem(name);
    const kept = JSON.parse(text);
    if (typeof kept.resume !== "string") return void 0;
    return {
      resume: kept.resume,
      watched: Array.isArray(kept.watched) ? kept.watched : [],
      friends: kept.friends === true,
      ...typeof kept.status === "object" && kept.status !== null && { status: freeze(kept.status) }
    };
  } catch {
    return void 0;
  }
}

// src/store.ts
var Picture = class {
  #people = /* @__PURE__ */ new Map();
  #round = 0;
  #snapshot = /* @__PURE__ */ new Map();
  #old = false;
  // the snapshot is
  #steps = /* @__PURE__ */ new Map();
  // of users with changes that are not given out yet
  #listeners = /* @__PURE__ */ new Set();
  #users = /* @__PURE__ */ new Map();
  #changes = /* @__PURE__ */ new Set();
  get = (user) => this.#people.get(user)?.presence;
  getSnapshot = () => {
    if (this.#old) {
      this.#old = false;
      const users = /* @__PURE__ */ new Map();
      for (const [user, p] of this.#people) if (p.presence !== void 0) users.set(user, p.presence);
      this.#snapshot = users;
    }
    return this.#snapshot;
  };
  subscribe = (listener) => enlist(this.#listeners, listener);
  subscribeUser = (user, listener) => {
    let listeners = this.#users.get(user);
    if (listeners === void 0) this.#users.set(user, listeners = /* @__PURE__ */ new Set());
    const leave = enlist(listeners, listener);
    return () => {
      leave();
      if (listeners.size === 0 && this.#users.get(user) === listeners) this.#users.delete(user);
    };
  };
  onChange = (listener) => enlist(this.#changes, listener);
  /** Begins a round. */
  startOver() {
    this.#round++;
  }
  /** The users in the picture. */
  users() {
    return [...this.#people.keys()];
  }
  /** Takes up news of a user; flush gives out what changed. */
  take(n) {
    let p = this.#people.get(n.user);
    if (p === void 0) {
      p = { presence: void 0, available: false, lastSeen: void 0, told: 0, sessions: /* @__PURE__ */ new Map() };
      this.#people.set(n.user, p);
    }
    const steps = this.#touch(n.user);
    p.available = n.on;
    p.stale = n.stale;
    if (n.seen !== void 0) p.lastSeen = n.seen;
    if (n.kind === "none" || n.kind === "current") p.told = this.#round;
    if (n.session === void 0) {
      if (!n.on) closeAll(p, steps);
    } else if (n.kind === "closed") {
      close(p, n.session.id, steps, n.why);
      if (!n.on) closeAll(p, steps);
    } else {
      open(p, n.session, n.kind, this.#round, steps);
    }
  }
  /** Closes what the snapshot of a user, or of everybody, left out. */
  settle(user) {
    for (const u of user === void 0 ? this.users() : [user]) {
      const p = this.#people.get(u);
      if (p === void 0 || p.told !== this.#round) continue;
      for (const [id, s] of p.sessions) if (s.round !== this.#round) close(p, id, this.#touch(u), void 0);
    }
  }
  /** Whether a snapshot told of the user since the round began. */
  told(user) {
    return this.#people.get(user)?.told === this.#round;
  }
  /** Takes a user out of the picture. */
  forget(user) {
    const p = this.#people.get(user);
    if (p === void 0) return;
    this.#people.delete(user);
    this.#steps.delete(user);
    if (p.presence !== void 0) this.#tell([{ user, before: p.presence, now: void 0, steps: [] }]);
  }
  /** Gives out what changed since it was called last. */
  flush() {
    const touched = this.#steps;
    if (touched.size === 0) return;
    this.#steps = /* @__PURE__ */ new Map();
    const changes = [];
    for (const [user, steps] of touched) {
      const p = this.#people.get(user);
      if (p === void 0) continue;
      const before = p.presence;
      const now = picture(user, p);
      if (same(before, now)) continue;
      p.presence = now;
      changes.push({ user, before, now, steps: merge(steps) });
    }
    this.#tell(changes);
  }
  #touch(user) {
    let steps = this.#steps.get(user);
    if (steps === void 0) this.#steps.set(user, steps = []);
    return steps;
  }
  #tell(changes) {
    if (changes.length === 0) return;
    this.#old = true;
    for (const change of changes) {
      Object.freeze(change.steps);
      Object.freeze(change);
    }
    for (const change of changes) for (const listener of [...this.#changes]) call(() => listener(change));
    for (const { user } of changes) for (const listener of [...this.#users.get(user) ?? []]) call(listener);
    for (const listener of [...this.#listeners]) call(listener);
  }
};
function enlist(set, listener) {
  const own = ((...args) => listener(...args));
  set.add(own);
  return () => void set.delete(own);
}
function picture(user, p) {
  const sessions = [...p.sessions.values()].map((s) => s.session).sort(oldestFirst);
  return Object.freeze({
    user,
    available: p.available,
    ...p.lastSeen !== void 0 && { lastSeen: p.lastSeen },
    ...p.stale !== void 0 && { staleSince: p.stale },
    sessions: Object.freeze(sessions)
  });
}
function open(p, session, kind, round, steps) {
  const old = p.sessions.get(session.id)?.session;
  if (old !== void 0 && same(old, session)) {
    p.sessions.set(session.id, { session: old, round });
    return;
  }
  p.sessions.set(session.id, { session, round });
  if (old !== void 0) steps.push({ kind: "updated", session });
  else steps.push({ kind: kind === "opened" ? "opened" : "current", session });
}
function close(p, id, steps, why) {
  const old = p.sessions.get(id);
  if (old === void 0) return;
  p.sessions.delete(id);
  steps.push({ kind: "closed", session: old.session, ...why !== void 0 && { why } });
}
function closeAll(p, steps) {
  for (const s of [...p.sessions.values()].sort((a, b) => oldestFirst(a.session, b.session))) close(p, s.session.id, steps, void 0);
}
function merge(steps) {
  const merged2 = /* @__PURE__ */ new Map();
  for (const next of steps) {
    const id = next.session.id;
    const old = merged2.get(id);
    if (old === void 0) merged2.set(id, next);
    else if (old.kind === "current" || old.kind === "opened") {
      if (next.kind === "closed") merged2.delete(id);
      else merged2.set(id, { kind: old.kind, session: next.session });
    } else merged2.set(id, next.kind === "closed" ? next : { kind: "updated", session: next.session });
  }
  return [...merged2.values()];
}

// src/tokens.ts
var limit = 3e4;
var Tokens = class {
  #make;
  #clock;
  #token;
  #fetching;
  constructor(make, clock2) {
    this.#make = make;
    this.#clock = clock2;
  }
  /** Forgets the last one. */
  refuse() {
    this.#token = void 0;
  }
  /** The last one, or a new one: one fetch serves all who ask meanwhile. */
  async get() {
    return this.#token ?? (this.#fetching ??= this.#fetch().finally(() => this.#fetching = void 0));
  }
  async #fetch() {
    let stop = () => {
    };
    const late = new Promise((_, reject) => {
      stop = this.#clock.after(limit, () => reject(new Error(`it took longer than ${limit} ms`)));
    });
    try {
      const token = await Promise.race([this.#make(), late]);
      if (typeof token !== "string" || token === "") throw new Error("it is not a string, or empty");
      return this.#token = token;
    } catch (err) {
      throw new PresenceError({ reason: "TOKEN_UNAVAILABLE", message: `getting the access token: ${err instanceof Error ? err.message : String(err)}`, cause: err });
    } finally {
      stop();
    }
  }
};

// src/wants.ts
var debt = () => ({ failures: 0, notBefore: 0 });
var Wants = class {
  /** Watched by name. */
  watched;
  /** Those of them whom the server may not know. */
  #untold;
  /** Users whom the server may still watch though nobody wants it. */
  #unwatched = /* @__PURE__ */ new Set();
  /** Users whose news are none of a friend: they were unwatched by name, and the server's word that nothing follows is on its way. */
  parted = /* @__PURE__ */ new Set();
  friends;
  #friendsUntold;
  #friendsLeft = false;
  // the server may still watch them
  /** Why the friends are not watched though they are wanted. */
  friendsError;
  /** The newest refusal of users whom nobody waits for. */
  watchError;
  /** The status that the server has; undefined when it is not known. */
  #status;
  #wish;
  #version = 0;
  // grows with each wish
  #debts = { unfriend: debt(), unwatch: debt(), watch: debt(), status: debt(), friends: debt() };
  #waiting = { status: [], friends: [], watch: [] };
  #dropped;
  /** `dropped` is called with users whom the server refused to watch. */
  constructor(watch, friends, status, dropped) {
    this.watched = new Set(watch);
    this.#untold = new Set(watch);
    this.friends = friends;
    this.#friendsUntold = friends;
    if (status !== void 0) this.#wish = { status: freeze(status) };
    this.#dropped = dropped;
  }
  /** Whether news of a user are wanted. */
  hears(user) {
    return this.watched.has(user) || this.friends && !this.parted.has(user);
  }
  /** The status that the program wants by now, if it is known. */
  get status() {
    return this.#wish !== void 0 && "status" in this.#wish ? this.#wish.status : this.#status;
  }
  watch(users) {
    const fresh = users.filter((u) => !this.watched.has(u));
    for (const u of fresh) {
      this.watched.add(u);
      this.#untold.add(u);
    }
    const untold = new Set(users.filter((u) => this.#untold.has(u)));
    if (untold.size === 0) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.watch.push({ users: untold, rejected: [], resolve, reject }));
  }
  /** Returns the users who were watched until now. */
  unwatch(users) {
    const were = users.filter((u) => this.watched.delete(u));
    for (const u of were) {
      this.#untold.delete(u);
      this.#unwatched.add(u);
      if (this.friends) this.parted.add(u);
    }
    this.#settleWatches(were, () => {
    });
    return were;
  }
  watchFriends() {
    if (!this.friends) this.friends = this.#friendsUntold = true;
    if (!this.#friendsUntold) return Promise.resolve();
    this.#debts.friends.notBefore = 0;
    return new Promise((resolve, reject) => this.#waiting.friends.push({ resolve, reject }));
  }
  unwatchFriends() {
    if (!this.friends) return;
    this.friends = this.#friendsUntold = false;
    this.#friendsLeft = true;
    this.friendsError = void 0;
    this.#debts.friends = debt();
    release(this.#waiting.friends);
  }
  set(status) {
    return this.#wishFor({ status: freeze(status) });
  }
  patch(patch) {
    const base = this.status;
    if (base !== void 0) return this.#wishFor({ status: patched(base, patch) });
    const before = this.#wish !== void 0 && "patch" in this.#wish ? this.#wish.patch : {};
    return this.#wishFor({ patch: freeze(merged(before, patch)) });
  }
  #wishFor(wish) {
    this.#wish = wish;
    this.#version++;
    return new Promise((resolve, reject) => this.#waiting.status.push({ resolve, reject }));
  }
  /**
   * What a hello says of all this. Users whom the server may still watch from
   * before wait: it would not tell of them again.
   */
  hello(first) {
    const watch = [...this.watched].filter((u) => !this.#unwatched.has(u) && (first || !this.#untold.has(u)));
    const friends = this.friends && !this.#friendsLeft && (first || !this.#friendsUntold);
    const { status } = this;
    const wish = this.#wish === void 0 ? void 0 : this.#payStatus();
    return {
      frame: { ...watch.length > 0 && { watch }, ...friends && { friends }, ...status !== void 0 && { status } },
      taken: (rejected) => {
        this.#told(watch, rejected);
        if (friends) this.#befriended();
        if (status !== void 0) wish?.taken([]);
      },
      refused: wish !== void 0 && this.#status !== void 0 ? wish.refused : void 0,
      partFailed: (part, error, notBefore) => {
        if (part === "watch") {
          for (const u of watch) if (this.watched.has(u)) this.#untold.add(u);
          if (error.temporary) this.#debts.watch.notBefore = notBefore;
        } else if (part === "friends" && this.friends) {
          if (!error.temporary) return this.#payFriends().refused(error);
          this.#friendsUntold = true;
          this.friendsError = error;
          this.#debts.friends.notBefore = notBefore;
        }
      }
    };
  }
  /** The server has nothing of before: all is untold that no hello said, and nothing is left to take away. */
  forgotten() {
    this.#unwatched.clear();
    this.parted.clear();
    this.#friendsLeft = false;
  }
  /** The server may watch these from before, and whoever of them is wanted will be asked for anew. */
  inherit(users, friends) {
    for (const u of users) if (!this.watched.has(u)) this.#unwatched.add(u);
    if (friends && !this.friends) this.#friendsLeft = true;
  }
  /** The next thing to tell; a number is how long to wait for it; undefined: nothing is owed. */
  next(now, batch) {
    const owed = [
      this.#friendsLeft && this.#debts.unfriend,
      this.#unwatched.size > 0 && this.#debts.unwatch,
      this.#untold.size > 0 && this.#debts.watch,
      this.#wish !== void 0 && this.#debts.status,
      this.#friendsUntold && !this.#friendsLeft && this.#debts.friends
    ].filter((d) => d !== false);
    if (owed.length === 0) return void 0;
    const due = owed.find((d) => d.notBefore <= now);
    if (due === void 0) return Math.min(...owed.map((d) => d.notBefore)) - now;
    switch (due) {
      case this.#debts.unfriend:
        return this.#payUnfriend();
      case this.#debts.unwatch:
        return this.#payUnwatch(batch);
      case this.#debts.watch:
        return this.#payWatch(batch);
      case this.#debts.status:
        return this.#payStatus();
      default:
        return this.#payFriends();
    }
  }
  /** Everybody who waits is told so. */
  over(error) {
    for (const list2 of [this.#waiting.status, this.#waiting.friends, this.#waiting.watch]) {
      for (const waiter of list2.splice(0)) waiter.reject(error);
    }
  }
  #payUnfriend() {
    const done = () => void (this.#friendsLeft = false);
    return { debt: this.#debts.unfriend, frame: { t: "unwatch", friends: true }, taken: done, refused: done };
  }
  #payUnwatch(batch) {
    const users = [...this.#unwatched].slice(0, batch);
    const done = () => users.forEach((u) => this.#unwatched.delete(u));
    return { debt: this.#debts.unwatch, frame: { t: "unwatch", users }, taken: done, refused: done };
  }
  /** One caller's users at a time: what is wrong with them is not the others' affair. */
  #payWatch(batch) {
    const waiter = this.#waiting.watch[0];
    const users = [...waiter?.users ?? this.#untold].slice(0, batch);
    return {
      debt: this.#debts.watch,
      frame: { t: "watch", users },
      taken: (rejected) => this.#told(users, rejected),
      refused: (error) => {
        const all2 = [...waiter?.users ?? users];
        if (waiter === void 0) this.watchError = watchRejected(all2, error);
        this.#dropped(all2.filter((u) => this.#untold.delete(u) && this.watched.delete(u)));
        this.#settleWatches(all2, (w) => w.reject(error));
      }
    };
  }
  #told(users, rejected) {
    const mine = users.filter((u) => this.#untold.delete(u));
    const refused = mine.filter((u) => rejected.includes(u) && this.watched.delete(u));
    if (refused.length > 0) {
      this.#dropped(refused);
      const unasked = refused.filter((u) => !this.#waiting.watch.some((w) => w.users.has(u)));
      if (unasked.length > 0) this.watchError = watchRejected(unasked);
    }
    for (const w of this.#waiting.watch) w.rejected.push(...refused.filter((u) => w.users.has(u)));
    this.#settleWatches(users, () => {
    });
  }
  /** Takes users off those who are waited for, and answers who waits for nobody any more. */
  #settleWatches(users, refuse) {
    for (const w of [...this.#waiting.watch]) {
      const concerned = users.filter((u) => w.users.delete(u)).length > 0;
      if (concerned) refuse(w);
      if (w.users.size > 0) continue;
      this.#waiting.watch.splice(this.#waiting.watch.indexOf(w), 1);
      if (w.rejected.length > 0) w.reject(watchRejected(w.rejected));
      else w.resolve();
    }
  }
  #payStatus() {
    const wish = this.#wish ?? { patch: {} };
    const version = this.#version;
    const waiters = [...this.#waiting.status];
    const done = () => {
      if (this.#version === version) this.#wish = void 0;
      this.#waiting.status.splice(0, waiters.length);
    };
    return {
      debt: this.#debts.status,
      frame: "status" in wish ? { t: "set", status: wish.status } : patchFrame(wish.patch),
      taken: () => {
        if ("status" in wish) this.#status = wish.status;
        done();
        release(waiters);
      },
      refused: (error) => {
        done();
        for (const w of waiters) w.reject(error);
      }
    };
  }
  #payFriends() {
    return {
      debt: this.#debts.friends,
      frame: { t: "watch", friends: true },
      taken: () => this.#befriended(),
      refused: (error) => {
        this.friends = this.#friendsUntold = false;
        this.friendsError = error;
        for (const w of this.#waiting.friends.splice(0)) w.reject(error);
      },
      failed: (error) => void (this.friendsError = error)
    };
  }
  #befriended() {
    if (!this.friends) return;
    this.#friendsUntold = false;
    this.friendsError = void 0;
    release(this.#waiting.friends);
  }
};
function release(waiters) {
  for (const w of waiters.splice(0)) w.resolve();
}
function watchRejected(users, why) {
  return new PresenceError({
    reason: why?.reason ?? "WATCH_REJECTED",
    message: why?.message ?? `the server refused to watch ${users.length} of the users`,
    cause: why,
    fields: [...users].sort().map((path) => ({ path, message: "not watched" }))
  });
}

// src/session.ts
var goodbyeLimit = 5e3;
var batchLimit = 200;
var PresenceSession = class {
  /** What is known of the watched users. */
  store;
  #options;
  #addresses;
  #tokens;
  #socket;
  #clock;
  #page;
  #picture = new Picture();
  #wants;
  #notifications;
  #listeners = /* @__PURE__ */ new Set();
  #snapshot = Object.freeze({ link: "idle" });
  #link;
  // the newest, until it ended
  #attempt = 0;
  // its number: what comes of an older one is of no interest
  #stopTimer = () => {
  };
  // of the pause between two attempts, or of a goodbye
  #waitsFor;
  // who wants the pause
  #stopTelling = () => {
  };
  #telling = false;
  #renewing;
  #resume;
  #sequence = 0;
  #batch = batchLimit;
  #failures = 0;
  #swift = false;
  // one attempt without a pause was made since the link last held
  #upSince = 0;
  #wasUp = false;
  #leaving;
  #refuseHello;
  #forgetPage;
  #opened;
  #resolve;
  #reject;
  #gone;
  #ended;
  /** Nothing is connected before {@link open}. Throws a TypeError for options that cannot work. */
  constructor(options) {
    this.#options = options;
    this.#addresses = new Addresses(options.url, options.insecure ?? false);
    if (typeof options.token !== "function") throw new TypeError("token: want a function that returns the access token");
    const socket = options.WebSocket ?? globalThis.WebSocket;
    if (socket === void 0) throw new TypeError("there is no WebSocket here: give a class as the WebSocket option, or use Node 22 or newer");
    this.#socket = socket;
    checkUsers(options.watch ?? []);
    this.#clock = options.clock ?? clock;
    this.#page = options.page ?? here();
    this.#tokens = new Tokens(options.token, this.#clock);
    this.store = this.#picture;
    const { onNotification } = options;
    if (onNotification !== void 0) this.#notifications = new Notifications((n) => call(() => onNotification(n)));
    this.#opened = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#opened.catch(() => {
    });
    this.#gone = new Promise((resolve) => this.#ended = resolve);
    const kept = this.#recall();
    this.#resume = kept?.resume ?? options.resume;
    const status = kept?.status ?? options.status ?? (this.#resume === void 0 ? {} : void 0);
    this.#wants = new Wants(options.watch ?? [], options.friends ?? false, status, (users) => {
      for (const u of users) if (!this.#wants.hears(u)) this.#picture.forget(u);
    });
    if (kept !== void 0) this.#wants.inherit(kept.watched, kept.friends);
    this.#forgetPage = this.#settleIn();
    this.#tell({});
  }
  /**
   * Connects. Resolves when the user is online, rejects when that will never be.
   * A server that cannot be reached is tried until it can, or until
   * {@link close}. May be called again to wait for the same.
   */
  open = () => {
    if (this.#snapshot.link === "idle") {
      this.#tell({ link: "connecting" });
      void this.#connect();
    }
    return this.#opened;
  };
  /** Resolves when the session is over, with why. */
  get over() {
    return this.#gone;
  }
  /** What is known of the session: the same object as long as nothing changed. */
  getSnapshot = () => this.#snapshot;
  /** Calls `listener` after each change of the snapshot. Call what it returns to end that. */
  subscribe = (listener) => {
    const own = () => listener();
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  };
  /** Says a new status in place of the old one. */
  set = (status) => this.#ask(() => this.#wants.set(status));
  /** Alters the status. */
  patch = (patch) => this.#ask(() => this.#wants.patch(patch));
  /** Watches users too. Rejects with `WATCH_REJECTED`, and their names, for those whom the server refuses. */
  watch = (...users) => this.#ask(() => {
    checkUsers(users);
    return this.#wants.watch(users);
  });
  /** Watches users no longer. They leave the store at once, save those who are watched as friends: those come anew. */
  unwatch = (...users) => {
    for (const u of this.#wants.unwatch(users)) this.#picture.forget(u);
    this.#pay();
  };
  /** Watches the user's friends too. */
  watchFriends = () => this.#ask(() => this.#wants.watchFriends());
  /** Watches the friends no longer. Who is not watched by name leaves the store at once. */
  unwatchFriends = () => {
    this.#wants.unwatchFriends();
    for (const u of this.#picture.users()) if (!this.#wants.hears(u)) this.#picture.forget(u);
    this.#tell({});
    this.#pay();
  };
  /**
   * Asks once, without watching. With `sessions`, theirs are told too. Who is
   * `unknown` the server cannot tell of now. Rejects at once while the link is
   * down.
   */
  get = async (users, o = {}) => {
    checkUsers(users);
    const out = /* @__PURE__ */ new Map();
    for (let i = 0; i < users.length; i += this.#batch) {
      const answer = await this.#call({ t: "get", users: users.slice(i, i + this.#batch), ...o });
      for (const raw of answer.users) {
        const presence = asked(raw);
        out.set(presence.user, presence);
      }
    }
    return out;
  };
  /** The attributes of a user, this one's own without a name. Rejects at once while the link is down. */
  attributes = async (user) => {
    if (user !== void 0) checkUsers([user]);
    return (await this.#call({ t: "attributes", ...user !== void 0 && { user } })).attributes;
  };
  /**
   * Sets attributes of this user, and takes away those named in `remove`: all of
   * them or, when it rejects, none. Resolves with how many changed, when they are
   * stored and told. Rejects at once while the link is down.
   */
  setAttributes = async (values, remove = []) => {
    const set = Object.entries(values).map(([name, value]) => ({ name, value: value ?? null }));
    if (set.length + remove.length === 0) return 0;
    return (await this.#call({ t: "attributes", set, remove })).changed;
  };
  /** Asks the server, with a fresh access token if the old one has expired. */
  async #call(request) {
    const link = this.#link;
    if (link === void 0) throw this.#snapshot.error ?? new PresenceError({ reason: "LINK_DOWN", message: "there is no link to the server now" });
    return link.request(request).catch(async (err) => {
      if (err.reason !== "JWT_EXPIRED") throw err;
      await this.renewToken();
      return link.request(request);
    });
  }
  /**
   * Fetches a new access token and gives it to the server, without a new
   * connection. The session does so by itself when a call is refused because the
   * token has expired.
   */
  renewToken = () => this.#renewing ??= this.#renew().finally(() => this.#renewing = void 0);
  async #renew() {
    this.#tokens.refuse();
    const token = await this.#tokens.get();
    if (this.#link?.up) await this.#link.request({ t: "token", token });
  }
  /**
   * Says goodbye for this device: the user goes offline here at once, and stays
   * logged in. The session is over when it resolves. It rejects when the server
   * could not be reached: then it finds out by itself within its grace period.
   */
  leave = () => this.#goodbye("leave");
  /** {@link leave} for a user who logs out. */
  logout = () => this.#goodbye("logout");
  /**
   * Lets go of the session without a word, as if the link were lost: the user
   * stays online for the server's grace period. With `remember`, the next session
   * in this tab goes on with it.
   */
  close = () => {
    this.#keep();
    this.#end(closed());
  };
  async #goodbye(mode) {
    const { link } = this.#snapshot;
    if (link === "over") return;
    const nowhere = this.#link === void 0;
    if (link === "idle" || nowhere && this.#resume === void 0) return this.#end(closed());
    this.#leaving ??= mode;
    this.#stopTimer();
    const late = this.#clock.after(goodbyeLimit, () => this.#end(new PresenceError({ reason: "LINK_DOWN", message: "the server could not be told goodbye; it finds out within its grace period" })));
    if (this.#link?.up) this.#link.bye(this.#leaving);
    else if (nowhere) void this.#connect();
    const why = await this.#gone;
    late();
    if (why.reason !== "CLOSED") throw why;
  }
  #ask(wish) {
    if (this.#snapshot.link === "over") return Promise.reject(this.#snapshot.error);
    let asked2;
    try {
      asked2 = wish();
    } catch (err) {
      return Promise.reject(err);
    }
    this.#tell({});
    this.#pay();
    return asked2;
  }
  async #connect() {
    const attempt = ++this.#attempt;
    this.#stopTimer();
    this.#waitsFor = void 0;
    let token;
    try {
      token = await this.#tokens.get();
    } catch (err) {
      if (attempt === this.#attempt) this.#lost(err);
      return;
    }
    if (attempt !== this.#attempt || this.#snapshot.link === "over") return;
    const hello = this.#wants.hello(!this.#wasUp);
    this.#refuseHello = hello.refused;
    this.#link = new Link({
      socket: this.#socket,
      url: this.#addresses.now,
      clock: this.#clock,
      hello: {
        t: "hello",
        token,
        device: { ...this.#page.device, ...this.#options.device },
        ...hello.frame,
        ...this.#notifications !== void 0 && { notifications: true },
        ...this.#options.onTopic !== void 0 && { topics: true },
        ...this.#resume !== void 0 && { resume: this.#resume },
        ...this.#resume !== void 0 && this.#sequence > 0 && { after: this.#sequence }
      },
      owner: {
        welcomed: (welcome2) => this.#welcomed(welcome2, hello.taken),
        partFailed: (part, error) => {
          hello.partFailed(part, error, this.#clock.now() + pause(this.#options.backoff ?? {}, 1, error.retryAfter, this.#clock.random));
          this.#tell({});
          this.#pay();
        },
        notified: (list2) => this.#notifications?.take(list2),
        topics: (list2) => this.#topics(list2),
        news: (news2, q) => this.#news(news2, q),
        ended: (error) => attempt === this.#attempt && this.#lost(error)
      }
    });
  }
  #welcomed(w, taken) {
    const startOver = !w.resumed || w.resync;
    if (!w.resumed) this.#wants.forgotten();
    if (startOver) this.#picture.startOver();
    this.#wants.parted.clear();
    this.#resume = w.resume;
    this.#sequence = w.q;
    if (w.batch > 0) this.#batch = w.batch;
    this.#addresses.held();
    this.#upSince = this.#clock.now();
    if (this.#wasUp && this.#options.onTopic !== void 0) this.#topics(void 0);
    this.#wasUp = true;
    taken(w.rejected);
    const { link, id, downSince, retryAt, error, ...rest } = this.#snapshot;
    this.#replace({ ...rest, link: "up", id: w.session });
    this.#tell({});
    this.#resolve();
    if (this.#leaving !== void 0) this.#link?.bye(this.#leaving);
    else this.#pay();
  }
  #topics(list2) {
    const { onTopic, onTopicsMissed } = this.#options;
    if (list2 === void 0) call(() => onTopicsMissed?.());
    else for (const m of list2) call(() => onTopic?.(m));
  }
  #news(news2, q) {
    this.#sequence = q;
    for (const n of news2) {
      switch (n.kind) {
        case "done":
          if (n.friends) this.#forgetOthers();
          this.#picture.settle(n.friends ? void 0 : n.user);
          break;
        case "ended":
          this.#wants.parted.delete(n.user);
          if (!this.#wants.watched.has(n.user) && (n.unfriended || !this.#wants.friends)) this.#picture.forget(n.user);
          break;
        default:
          if (this.#wants.hears(n.user)) this.#picture.take(n);
      }
    }
    this.#picture.flush();
  }
  /** All friends were told of: who was one, and was not told of, is none any more. */
  #forgetOthers() {
    for (const u of this.#picture.users()) if (!this.#wants.watched.has(u) && !this.#picture.told(u)) this.#picture.forget(u);
  }
  /** The link ended, or could not be made. */
  #lost(error) {
    this.#link = void 0;
    this.#stopTelling();
    if (this.#snapshot.link === "over") return;
    if (this.#leaving !== void 0 && (this.#snapshot.link === "up" || error.lost)) {
      return this.#end(error.reason === "SESSION_CLOSED" || error.lost ? closed() : error);
    }
    const { healthy = 3e4, first = 1e3 } = this.#options.backoff ?? {};
    const enough = error.reason === "DRAINING" ? Math.min(first, healthy) : healthy;
    if (this.#snapshot.link === "up" && this.#clock.now() - this.#upSince >= enough) {
      this.#failures = 0;
      this.#swift = false;
    }
    const wait = this.#addresses.failed(error.reason, this.#snapshot.link === "up") ? 0 : this.#judge(error);
    if (wait === void 0) return this.#end(error);
    const downSince = this.#snapshot.link === "up" ? this.#clock.now() : this.#snapshot.downSince;
    this.#tell({
      link: this.#wasUp ? "down" : "connecting",
      error,
      retryAt: this.#clock.now() + wait,
      ...downSince !== void 0 && { downSince }
    });
    this.#waitsFor = error.retryAfter > 0 ? "server" : "us";
    this.#stopTimer = this.#clock.after(wait, () => void this.#connect());
  }
  /**
   * How long to wait before trying again; undefined when that is of no use. An
   * attempt without a pause is made once for each time the link held: a server
   * that refuses at once must not make us run in circles.
   */
  #judge(error) {
    let swift = true;
    if (error.lost) {
      this.#resume = void 0;
      this.#sequence = 0;
    } else if (error.reason === "RESUME_FROM_FUTURE") {
      this.#sequence = 0;
    } else if (error.reason === "JWT_EXPIRED" || error.reason === "TOKEN_EXPIRED") {
      this.#tokens.refuse();
    } else if (error.reason === "FIELD_INVALID" && this.#refuseHello !== void 0) {
      this.#refuseHello(error);
    } else if (!error.temporary) {
      return void 0;
    } else {
      swift = false;
    }
    if (swift && !this.#swift && error.retryAfter === 0) {
      this.#swift = true;
      return 0;
    }
    return pause(this.#options.backoff ?? {}, ++this.#failures, error.retryAfter, this.#clock.random);
  }
  /** Tells the server what it may not know, one message after the other, until nothing is owed. */
  #pay() {
    const link = this.#link;
    if (link === void 0 || !link.up || this.#telling) return;
    this.#stopTelling();
    const next = this.#wants.next(this.#clock.now(), this.#batch);
    if (next === void 0) return;
    if (typeof next === "number") {
      this.#stopTelling = this.#clock.after(next, () => this.#pay());
      return;
    }
    this.#telling = true;
    void link.request(next.frame).then(
      (answer) => {
        next.debt.failures = next.debt.notBefore = 0;
        next.taken(answer.rejected);
        this.#tell({});
      },
      (error) => this.#unpaid(link, next, error)
    ).finally(() => {
      this.#telling = false;
      this.#tell({});
      this.#pay();
    });
  }
  /** A message that was not taken: it stays owed, or never will be taken. */
  async #unpaid(link, payment, error) {
    if (!link.up) return;
    if (!error.temporary) {
      payment.refused(error);
      return this.#tell({});
    }
    const failures = ++payment.debt.failures;
    if (error.reason === "JWT_EXPIRED") {
      const renewed = await this.renewToken().then(() => true, () => false);
      if (renewed && failures === 1) return;
    } else {
      payment.failed?.(error);
    }
    payment.debt.notBefore = this.#clock.now() + pause(this.#options.backoff ?? {}, failures, error.retryAfter, this.#clock.random);
  }
  #end(error) {
    if (this.#snapshot.link === "over") return;
    const { link, retryAt, ...rest } = this.#snapshot;
    this.#attempt++;
    this.#stopTimer();
    this.#stopTelling();
    this.#forgetPage();
    this.#replace({ ...rest, link: "over", error });
    this.#link?.end(error);
    this.#link = void 0;
    this.#wants.over(error);
    this.#reject(error);
    this.#ended(error);
  }
  /** Puts new values into the snapshot. */
  #tell(news2) {
    const { status, friendsError, watchError, ...rest } = this.#snapshot;
    const now = this.#wants;
    if (Object.keys(news2).length === 0 && now.status === status && now.friendsError === friendsError && now.watchError === watchError) return;
    if (rest.link === "over") return;
    this.#replace({
      ...rest,
      ...now.status !== void 0 && { status: now.status },
      ...now.friendsError !== void 0 && { friendsError: now.friendsError },
      ...now.watchError !== void 0 && { watchError: now.watchError },
      ...news2
    });
  }
  #replace(snapshot) {
    this.#snapshot = Object.freeze(snapshot);
    for (const listener of [...this.#listeners]) call(listener);
  }
  /** Listens to what the page knows; the function it returns ends that. */
  #settleIn() {
    const page = this.#page;
    const leave = [
      page.onWake(() => {
        if (this.#link !== void 0) this.#link.doubt();
        else if (this.#waitsFor === "us") void this.#connect();
      }),
      page.onOffline(() => this.#link?.doubt()),
      page.onHide(() => this.#keep()),
      // The page was kept, and so was what it knows.
      page.onShow(() => {
        this.#recall();
        this.#link?.doubt();
      })
    ];
    return () => leave.forEach((f) => f());
  }
  #keep() {
    const { remember } = this.#options;
    const { link, status } = this.#snapshot;
    if (remember === void 0 || this.#resume === void 0 || link === "over" || this.#leaving !== void 0) return;
    keep(this.#page.storage, remember, {
      resume: this.#resume,
      watched: [...this.#wants.watched],
      friends: this.#wants.friends,
      ...status !== void 0 && { status }
    });
  }
  #recall() {
    const { remember } = this.#options;
    return remember === void 0 ? void 0 : recall(this.#page.storage, remember);
  }
};
function closed() {
  return new PresenceError({ reason: "CLOSED", message: "the session was left or closed" });
}
export {
  PresenceError,
  PresenceSession,
  actionLink
};
