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
