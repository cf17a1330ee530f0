// What a web page knows of its surroundings. In other programs nothing of it
// is there, and nothing is missing.

/** @internal */
export interface Page {
  /** The link may be possible again, or may be gone without a word. */
  onWake(then: () => void): () => void;
  /** The machine says that it has no network. */
  onOffline(then: () => void): () => void;
  /** The page goes away, maybe to be loaded anew. */
  onHide(then: () => void): () => void;
  /** The page that went away is back as it was. */
  onShow(then: () => void): () => void;
  readonly storage: Keep | undefined;
  readonly device: { readonly platform?: string; readonly locale?: string };
}

/** What of a Storage is used. @internal */
export interface Keep {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

interface Target {
  addEventListener(name: string, then: (event: { readonly persisted?: boolean }) => void): void;
  removeEventListener(name: string, then: (event: { readonly persisted?: boolean }) => void): void;
}

declare const globalThis: {
  readonly window?: Target;
  readonly document?: Target & { readonly visibilityState: string };
  readonly navigator?: { readonly language?: string };
  readonly process?: { readonly versions?: { readonly node?: string } };
  readonly sessionStorage?: Keep;
};

/** The page that this runs in, if it is one. @internal */
export function here(): Page {
  const { window, document, navigator } = globalThis;
  const web = window !== undefined && document !== undefined;
  const locale = navigator?.language;
  return {
    onWake: (then) => {
      const visible = (): void => {
        if (document?.visibilityState === 'visible') then();
      };
      return all(on(window, 'online', then), on(document, 'visibilitychange', visible));
    },
    onOffline: (then) => on(window, 'offline', then),
    onHide: (then) => on(window, 'pagehide', then),
    onShow: (then) => on(window, 'pageshow', (event) => event.persisted === true && then()),
    storage: storage(),
    device: { platform: web ? 'web' : globalThis.process?.versions?.node !== undefined ? 'node' : '', ...(locale !== undefined && { locale }) },
  };
}

/** The tab's storage; a browser may refuse it. */
function storage(): Keep | undefined {
  try {
    return globalThis.window === undefined ? undefined : globalThis.sessionStorage;
  } catch {
    return undefined;
  }
}

function on(target: Target | undefined, name: string, then: (event: { readonly persisted?: boolean }) => void): () => void {
  target?.addEventListener(name, then);
  return () => target?.removeEventListener(name, then);
}

function all(...leave: (() => void)[]): () => void {
  return () => leave.forEach((f) => f());
}
