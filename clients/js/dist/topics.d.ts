/** A named value of a user, which all his devices share. */
export interface Attribute {
    readonly name: string;
    /** Any JSON. */
    readonly value: unknown;
    /** When it was set last: milliseconds since 1970. */
    readonly at: number;
}
/** A change of an attribute, told in a topic. */
export interface TopicMessage extends Attribute {
    readonly topic: string;
    readonly user: string;
    /** A call of the user runs. */
    readonly inCall: boolean;
}
