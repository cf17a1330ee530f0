import type { Backoff } from './backoff.ts';
import type { SocketClass } from './link.ts';
import type { LiveNotification } from './notification.ts';
import type { TopicMessage } from './topics.ts';
import type { Status } from './status.ts';
/** What the user holds. */
export interface Device {
    /** Such as `web`, `ios`, `linux`; found out when it is left out. */
    readonly platform?: string;
    /** Which product of the app. */
    readonly product?: string;
    /** BCP 47, such as `en-US`: the language of the texts that are read. The browser's when it is left out. */
    readonly locale?: string;
    /** The same at every start on this device. A new session ends an older one of the same non-empty id: leave it out for web pages, which may stand open in two tabs. */
    readonly id?: string;
    /** Of the program. */
    readonly version?: string;
}
/** What a {@link PresenceSession} begins with. */
export interface SessionOptions {
    /**
     * The server: `wss://presence.example/live`, or `https://presence.example`.
     * Without TLS (`ws:`, `http:`) only this machine is spoken to, unless `insecure`
     * is set: the access token could be read on the way.
     *
     * Of several nodes without a balancer before them, a list: the first is used, and
     * when one cannot be reached, takes no session or says goodbye, the next, in turn.
     */
    readonly url: string | readonly string[];
    /**
     * Returns the user's access token (a JWT). It is called before the first
     * connection, and again when the server said that the last token has expired.
     * When it fails it is called again after a pause.
     */
    readonly token: () => string | Promise<string>;
    /** What the user says at first; online without a word when it is left out. */
    readonly status?: Status;
    /** Users to watch from the beginning. */
    readonly watch?: readonly string[];
    /** Watches the user's friends too: those on the list that the server has. */
    readonly friends?: boolean;
    readonly device?: Device;
    /**
     * Takes the user's live notifications: called with each one. Without it they are
     * left to the user's other devices, or wait.
     */
    readonly onNotification?: (notification: LiveNotification) => void;
    /**
     * Subscribes to the topics that the access token names: called with each message.
     * Without it nothing is subscribed to.
     */
    readonly onTopic?: (message: TopicMessage) => void;
    /** Called when topic messages were left out, because this device was too slow or its link was lost. */
    readonly onTopicsMissed?: () => void;
    /**
     * Goes on with the session when the page is loaded anew: nobody sees the user
     * leave and come back. The value is a name in the tab's `sessionStorage`, where
     * the session's token lies while no page holds it.
     */
    readonly remember?: string;
    /** A session token to go on with, made by the app's backend or at another door. */
    readonly resume?: string;
    readonly backoff?: Backoff;
    /** Allows connections without TLS to other machines. */
    readonly insecure?: boolean;
    /** The WebSocket class, where there is no global one (Node before 22). */
    readonly WebSocket?: SocketClass;
}
