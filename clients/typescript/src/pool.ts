import type { Client } from 'graphql-ws';

/** A place for one subscription on a socket. */
export interface Place {
  readonly client: Client;
  /** Give the place back. May be called twice. */
  release(): void;
}

/** As many sockets as the subscriptions take. */
export class SocketPool {
  readonly #open: () => Client;
  readonly #limit: number;
  #sockets: { client: Client; used: number }[] = [];

  /** `open` makes a client, and `limit` is the number of subscriptions that one takes. */
  constructor(open: () => Client, limit: number) {
    this.#open = open;
    this.#limit = limit;
  }

  take(): Place {
    let socket = this.#sockets.find((one) => one.used < this.#limit);
    if (!socket) this.#sockets.push((socket = { client: this.#open(), used: 0 }));
    const taken = socket;
    taken.used += 1;
    let held = true;
    return {
      client: taken.client,
      release: () => {
        if (held) taken.used -= 1;
        held = false;
      },
    };
  }

  dispose(): void {
    for (const { client } of this.#sockets) void client.dispose();
    this.#sockets = [];
  }
}
