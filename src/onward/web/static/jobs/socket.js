// A client for graphql-transport-ws: one socket, subscriptions that outlive it, and listeners for its state.
import { address } from './api.js';
import { parse } from './exact.js';
import { credentials } from './token.js';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const REFUSED = new Set([4400, 4401, 4403, 4406]); // asking again at once would be refused again
const HANDSHAKE_MS = 8_000;

export class Socket {
  #socket = null;
  #live = false;
  #failures = 0;
  #retry = 0;
  #number = 0;
  #subscriptions = new Map();
  #listeners = new Set();
  state = 'connecting'; // 'connecting', 'live', 'lost', 'refused'

  onState(listener) {
    this.#listeners.add(listener);
    listener(this.state);
  }

  // The watcher's `next` gets the data of each message, `failed` the words of an error, `done` the end. Gives a way to stop.
  subscribe(query, variables, { next, failed = () => {}, done = () => {} }) {
    const id = String(++this.#number);
    this.#subscriptions.set(id, { payload: { query, variables }, next, failed, done });
    if (this.#live) this.#begin(id);
    else this.connect();
    return () => {
      if (this.#subscriptions.delete(id) && this.#live) this.#send({ id, type: 'complete' });
    };
  }

  connect() {
    if (this.#socket) return;
    clearTimeout(this.#retry);
    const url = Object.assign(new URL(address), { protocol: address.protocol === 'https:' ? 'wss:' : 'ws:' });
    const socket = new WebSocket(url, 'graphql-transport-ws');
    const slow = setTimeout(() => socket.close(), HANDSHAKE_MS);
    this.#socket = socket;
    socket.onopen = () => this.#send({ type: 'connection_init', payload: credentials() });
    socket.onmessage = (event) => {
      const message = parse(event.data);
      if (message.type === 'connection_ack') clearTimeout(slow);
      this.#take(message);
    };
    socket.onclose = (event) => {
      clearTimeout(slow);
      this.#lost(event.code);
    };
  }

  // With another token: the old connection was let in by the old one.
  reconnect() {
    const socket = this.#socket;
    this.#drop();
    socket?.close(1000);
    this.#failures = 0;
    this.#notify('connecting');
    this.connect();
  }

  #drop() {
    if (this.#socket) this.#socket.onclose = this.#socket.onmessage = this.#socket.onopen = null;
    this.#socket = null;
    this.#live = false;
  }

  #lost(code) {
    this.#drop();
    this.#failures += 1;
    const refused = REFUSED.has(code);
    const wait = refused ? LONGEST_WAIT_MS : Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (this.#failures - 1));
    this.#retry = setTimeout(() => this.connect(), wait * (0.75 + Math.random() / 2)); // not all pages at the same moment
    this.#notify(refused ? 'refused' : 'lost');
  }

  #take(message) {
    const subscription = this.#subscriptions.get(message.id);
    if (message.type === 'connection_ack') {
      this.#live = true;
      this.#failures = 0;
      for (const id of this.#subscriptions.keys()) this.#begin(id);
      this.#notify('live');
    } else if (message.type === 'ping') this.#send({ type: 'pong' });
    else if (message.type === 'next') {
      const error = message.payload.errors?.[0];
      if (error) subscription?.failed(String(error.message));
      else subscription?.next(message.payload.data);
    } else if (message.type === 'error') {
      this.#subscriptions.delete(message.id);
      subscription?.failed(String(message.payload?.[0]?.message ?? 'The subscription was refused.'));
    } else if (message.type === 'complete') {
      this.#subscriptions.delete(message.id);
      subscription?.done();
    }
  }

  #begin(id) {
    this.#send({ id, type: 'subscribe', payload: this.#subscriptions.get(id).payload });
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #notify(state) {
    if (state === this.state) return;
    this.state = state;
    for (const listener of this.#listeners) listener(state);
  }
}
