import type { Client, ClientOptions } from 'graphql-ws';
import { delayMs, wait } from './backoff.js';
import type { TokenSource } from './token.js';

/** The options of graphql-ws, whose `url` may be http(s), and a token. */
export interface SocketOptions extends Omit<ClientOptions, 'url' | 'connectionParams'> {
  url: string;
  token?: TokenSource | undefined;
}

const REFUSED = 4403; // the token is wrong or has run out
const NO_TOKEN = 4408; // the code of a socket that is not initialised in time, after which graphql-ws comes back
const KEEP_ALIVE_MS = 10_000;
const PONG_MS = 5_000;
const OPEN_MS = 15_000;

/**
 * Options for graphql-ws's `createClient`.
 *
 * The socket comes back for ever from lost networks and restarts, with a new token where the old one has run out, and
 * gives up where the server refuses two tokens in a row.
 */
export function socketOptions({ url, token, on = {}, ...others }: SocketOptions): ClientOptions {
  let refusals = 0; // in a row
  let renew = false;
  let accepted = false;
  let socket: unknown;
  return {
    url: socketUrl(url),
    lazy: true,
    lazyCloseTimeout: 3_000,
    keepAlive: KEEP_ALIVE_MS,
    retryAttempts: Infinity,
    retryWait: (retries) => wait(delayMs(retries)),
    shouldRetry: () => refusals < 2,
    ...(token && {
      connectionParams: async () => {
        try {
          const bearer = await token(renew);
          renew = false;
          return bearer ? { Authorization: `Bearer ${bearer}` } : {};
        } catch {
          // An error would end all subscriptions; a socket that closes comes back, and asks for the token again.
          (socket as WebSocket).close(NO_TOKEN, 'No token yet');
          return {};
        }
      },
    }),
    ...others,
    on: {
      ...on,
      opened: (opened) => {
        socket = opened;
        accepted = false;
        on.opened?.(opened);
      },
      connected: (...told) => {
        refusals = 0;
        accepted = true;
        on.connected?.(...told);
      },
      closed: (event) => {
        if ((event as CloseEvent).code === REFUSED) {
          renew = true;
          if (!accepted) refusals += 1;
          if (refusals === 2) setTimeout(() => (refusals = 0)); // all subscriptions have ended: later ones try anew
        }
        accepted = false;
        on.closed?.(event);
      },
    },
  };
}

/** Give up the client's socket if it does not open, or no pong comes back: a cut network closes nothing by itself. */
export function watchSilence(client: Client): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const expect = (ms: number) => (timer ??= setTimeout(() => client.terminate(), ms));
  const heard = () => {
    clearTimeout(timer);
    timer = undefined;
  };
  client.on('connecting', () => expect(OPEN_MS));
  client.on('connected', heard);
  client.on('ping', (received) => void (received || expect(PONG_MS)));
  client.on('pong', (received) => void (received && heard()));
  client.on('closed', heard);
}

/** The address of the WebSocket, from an http(s) one, which may be relative to the page. */
export function socketUrl(url: string): string {
  return absolute(url).replace(/^http/, 'ws');
}

export function absolute(url: string): string {
  return new URL(url, globalThis.location?.href).href;
}
