/** A short message for the user, put by a server. Everything in it is what somebody wrote. */
export interface LiveNotification {
    /** Names it among those of its publisher. */
    readonly id: string;
    /** Who put it; missing when it was the app itself. */
    readonly publisher?: string;
    /** Who or what it is from, for people. */
    readonly source?: string;
    readonly message: string;
    /** What happens if the user agrees: a URL, or what the app makes of it. See {@link actionLink}. */
    readonly action?: string;
    /** When it was put, and when it is stale, if ever: milliseconds since 1970. */
    readonly at: number;
    readonly until?: number;
}
/**
 * The action of a notification as a link that a page may show: undefined unless it
 * is a whole `http:` or `https:` address. Anything else (`javascript:`, `data:`)
 * would run with the rights of the page.
 */
export declare function actionLink(notification: Pick<LiveNotification, 'action'>): string | undefined;
