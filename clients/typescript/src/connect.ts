import type { Client, ClientOptions, Sink, SubscribePayload } from 'graphql-ws';
import { onwardFetch, type FetchOptions } from './fetch.js';
import { JobMemory } from './memory.js';
import { request } from './plain.js';
import { SocketPool } from './pool.js';
import { absolute, socketOptions, watchSilence, type SocketOptions } from './socket.js';
import { LiveSubscription } from './subscription.js';

export interface ConnectOptions extends FetchOptions {
  /** The address of the API, which may be relative to the page, as in "/graphql". */
  url: string;
  /** graphql-ws's `createClient`, for subscriptions. */
  createClient?: ((options: ClientOptions) => Client) | undefined;
  /** Options of graphql-ws that differ from `socketOptions`. */
  socket?: Partial<Omit<SocketOptions, 'url' | 'token'>> | undefined;
  /** The most subscriptions on one socket, as `gql.limits.subscriptions` of the server; then another one is opened. */
  subscriptionsPerSocket?: number | undefined;
  memory?: JobMemory | undefined;
}

/** A connection to an Onward server: what Apollo, urql and plain code send with. */
export interface Onward {
  /** The absolute address of the API. */
  readonly url: string;
  readonly memory: JobMemory;
  readonly fetch: typeof globalThis.fetch;
  /** Run a subscription for as long as it is wanted, whatever becomes of its sockets; return what ends it. */
  subscribe(payload: SubscribePayload, sink: Sink<any>): () => void;
  /** Tell when changes may have been missed: when `jobsUpdated` could not go on where it was. Fetch the lists anew then. */
  onGap(listener: () => void): () => void;
  /** Tell whether the sockets are connected, whenever that changes. */
  onConnection(listener: (connected: boolean) => void): () => void;
  /** Close all sockets, and end all subscriptions. */
  dispose(): void;
}

const NOW = '{ jobs(first: 0) { change } }';
const SETTLE_MS = 500; // until a subscription that was just sent, from no change, is surely at work

export function connect(options: ConnectOptions): Onward {
  const url = absolute(options.url);
  const gaps = new Set<() => void>();
  const watchers = new Set<(connected: boolean) => void>();
  const tell = (connected: boolean) => watchers.forEach((watcher) => watcher(connected));

  const open = () => {
    if (!options.createClient) throw new Error('connect: give `createClient` of graphql-ws for subscriptions');
    const client = options.createClient(socketOptions({ ...options.socket, url, token: options.token }));
    watchSilence(client);
    client.on('connected', () => tell(true));
    client.on('closed', (event) => tell((event as CloseEvent).code === 1000));
    return client;
  };
  const pool = new SocketPool(open, options.subscriptionsPerSocket ?? 20);
  const gap = (sent: boolean) => void setTimeout(() => gaps.forEach((listener) => listener()), sent ? 0 : SETTLE_MS);
  const now = async () => (await request<any, object>(onward, NOW, {})).jobs.change;

  const onward: Onward = {
    url,
    memory: options.memory ?? new JobMemory(),
    fetch: onwardFetch(options),
    subscribe: (payload, sink) => {
      const live = new LiveSubscription(pool, payload, sink, gap, now);
      return () => live.end();
    },
    onGap: (listener) => listen(gaps, listener),
    onConnection: (listener) => listen(watchers, listener),
    dispose: () => pool.dispose(),
  };
  return onward;
}

function listen<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}
