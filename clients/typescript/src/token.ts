/**
 * Gives the bearer token for a request or a socket; undefined or null for none.
 *
 * `refused` is true if the server has just refused the last token, or said that it has run out: give a new one then.
 */
export type TokenSource = (refused: boolean) => string | null | undefined | Promise<string | null | undefined>;
