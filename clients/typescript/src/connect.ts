import type { Client, ClientOptions, Sink, SubscribePayload } from 'graphql-ws';
import { delayMs, wait } from './backoff.js';
import { onwardFetch, type FetchOptions } from './fetch.js';
import { JobMemory } from './memory.js';
import { absolute, socketOptions, watchSilence, type SocketOptions } from './socket.js';

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

interface Pooled {
  readonly client: Client;
  used: number;
}

const AGAIN = new Set(['LAGGING', 'UNAVAILABLE', 'TIMEOUT', 'RATE_LIMITED']);
const SETTLE_MS = 500; // until a subscription that was just sent is surely at work

export function connect(options: ConnectOptions): Onward {
  const url = absolute(options.url);
  const memory = options.memory ?? new JobMemory();
  const limit = options.subscriptionsPerSocket ?? 20;
  const pool: Pooled[] = [];
  const gaps = new Set<() => void>();
  const watchers = new Set<(connected: boolean) => void>();
  const told = (connected: boolean) => watchers.forEach((watcher) => watcher(connected));

  function pooled(): Pooled {
    let found = pool.find((one) => one.used < limit);
    if (!found) {
      if (!options.createClient) throw new Error('connect: give `createClient` of graphql-ws for subscriptions');
      const client = options.createClient(socketOptions({ ...options.socket, url, token: options.token }));
      watchSilence(client);
      client.on('connected', () => told(true));
      client.on('closed', (event) => told((event as CloseEvent).code === 1000));
      found = { client, used: 0 };
      pool.push(found);
    }
    return found;
  }

  function subscribe(payload: SubscribePayload, sink: Sink<any>): () => void {
    const resumed = new Resumed(payload, () => setTimeout(() => gaps.forEach((gap) => gap()), SETTLE_MS));
    let ended = false;
    let stop = () => {};
    const begin = (failures: number) => {
      const one = pooled();
      one.used += 1;
      let held = true;
      const release = () => {
        if (held) one.used -= 1;
        held = false;
      };
      let again: Promise<void> | undefined;
      const cancel = one.client.subscribe(resumed.payload, {
        next: (result) => {
          failures = 0;
          resumed.read(result.data);
          sink.next(result);
        },
        error: (error) => {
          release();
          if (ended) return;
          const code = codeOf(error);
          if (resumed.forgets(code) || AGAIN.has(code)) {
            again = wait(delayMs(failures)).then(() => {
              if (!ended) begin(failures + 1);
            });
          } else {
            ended = true;
            sink.error(error);
          }
        },
        complete: () => {
          release();
          if (ended || again) return;
          ended = true;
          sink.complete();
        },
      });
      stop = () => {
        release();
        cancel();
      };
    };
    begin(0);
    return () => {
      ended = true;
      stop();
    };
  }

  const listen = <T>(listeners: Set<T>, listener: T) => {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  };
  return {
    url,
    memory,
    fetch: onwardFetch(options),
    subscribe,
    onGap: (listener) => listen(gaps, listener),
    onConnection: (listener) => listen(watchers, listener),
    dispose: () => pool.splice(0).forEach(({ client }) => void client.dispose()),
  };
}

/** A subscription that is sent again with the last change it has seen, if its document declares `$afterChange`. */
class Resumed {
  /** The one that is sent: graphql-ws makes JSON of it each time. */
  readonly payload: SubscribePayload;
  #change: unknown;
  #sent = 0;
  #heard = false;

  constructor(payload: SubscribePayload, gap: () => void) {
    const many = /\bjobsUpdated\b/.test(payload.query);
    const resumes = /\$afterChange\b/.test(payload.query);
    const { afterChange, ...variables } = payload.variables ?? {};
    this.#change = afterChange;
    const toJSON = () => {
      this.#sent += 1;
      this.#heard = false;
      const from = resumes ? { afterChange: this.#change } : {};
      if (many && this.#sent > 1 && !from.afterChange) gap();
      return { ...payload, variables: { ...variables, ...from } };
    };
    this.payload = { ...payload, toJSON } as SubscribePayload;
  }

  read(data: unknown): void {
    const change = (data as { jobsUpdated?: { change?: unknown } } | null | undefined)?.jobsUpdated?.change;
    if (typeof change === 'string') this.#change = change;
    this.#heard = true;
  }

  /** Drop the change if the server says by this code that it cannot go on from it; return whether it was so. */
  forgets(code: string): boolean {
    // LAGGING after a message ended a subscription that was too slow; without one, too much has changed meanwhile.
    const lost = this.#change !== undefined && (code === 'BAD_CHANGE' || (code === 'LAGGING' && !this.#heard));
    if (lost) this.#change = undefined;
    return lost;
  }
}

/** The code of the first error that ended a subscription. */
function codeOf(error: unknown): string {
  const first = (Array.isArray(error) ? error[0] : undefined) as { extensions?: { code?: unknown } } | undefined;
  return String(first?.extensions?.code ?? '');
}
