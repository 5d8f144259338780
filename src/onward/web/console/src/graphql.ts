// The one client: questions over HTTP, and changes over one WebSocket. A hidden tab has no socket.
import { createClient, type Client } from 'graphql-ws';
import { exactly, parse } from '../../static/shared/exact.js';
import { Store } from './store';
import { credentials, token } from './token';

// An operation of ../operations/*.graphql: its text, with the types of its answer and its variables.
export interface Operation<Data, Variables> {
  readonly text: string;
  readonly types?: (variables: Variables) => Data;
}

export interface UserError { code: string; message: string; path?: readonly string[] | null }

export class ApiError extends Error {
  constructor(
    message: string,
    readonly code = '',
    readonly reached = true, // false: no answer, or none that says whether the server did it
  ) { super(message); }
}

interface Answer { data?: unknown; errors?: { message: string; extensions?: { code?: string } }[] }

const UNSURE = new Set(['TIMEOUT', 'INTERNAL', 'UNAVAILABLE']); // the server may have done it before the error
const TIMEOUT_MS = 15_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const HANDSHAKE_MS = 8_000;
const PING_MS = 20_000;
const PONG_MS = 10_000;
const OPEN_MS = 15_000;
const REFUSED = new Set([4400, 4401, 4403, 4406]);
const address = new URL(document.getElementById('console')?.dataset.graphql ?? 'graphql', document.baseURI);

let ahead = 0;

// The server's time now, by the Date of its last answer: this machine's clock may be another.
export const serverNow = (): number => Date.now() + ahead;

// Gives the data, or raises ApiError. A mutation's own `errors` are data.
export async function ask<Data, Variables>(operation: Operation<Data, Variables>, variables: Variables): Promise<Data> {
  return await askText(operation.text, variables) as Data;
}

// A document that is made here, as those from introspection are.
export async function askText(query: string, variables: unknown): Promise<unknown> {
  let response: Response;
  let body: string;
  try {
    response = await fetch(address, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json', ...credentials() },
      body: JSON.stringify({ query, variables }),
      credentials: 'same-origin',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    ahead = (Date.parse(response.headers.get('Date') ?? '') || Date.now()) - Date.now();
    body = await response.text();
  } catch {
    throw new ApiError('The server did not answer.', '', false);
  }
  const answer = read(body);
  const errors = (answer?.errors ?? []).map(({ message, extensions }) => ({ message: String(message), code: String(extensions?.code ?? '') }));
  const [error] = errors;
  if (error) throw new ApiError(error.message, error.code, !errors.some(({ code }) => UNSURE.has(code)));
  if (!response.ok || !answer?.data) throw new ApiError(`The server answered ${response.status}.`, '', response.status < 500);
  return answer.data;
}

function read(body: string): Answer | null {
  try {
    return parse(body) as Answer;
  } catch {
    return null;
  }
}

export type Connection = 'connecting' | 'live' | 'lost' | 'refused';
export const connection = new Store<Connection>('connecting');

interface Watcher<Data> {
  next: (data: Data) => void;
  failed?: (words: string) => void;
  done?: () => void; // the server has ended it
}
interface Subscription { query: string; variables: unknown; watcher: Watcher<unknown> }

const subscriptions = new Map<number, Subscription>();
let number = 0;
let client: Client | null = null;
let restarting: ReturnType<typeof setTimeout> | undefined;

// Outlives the socket: after a cut it begins again, with the variables as they are then. Gives a way to stop.
export function subscribe<Data, Variables>(operation: Operation<Data, Variables>, variables: Variables, watcher: Watcher<Data>): () => void {
  const id = ++number;
  let stop = () => {};
  subscriptions.set(id, { query: operation.text, variables, watcher: watcher as Watcher<unknown> });
  if (client) stop = begin(client, id);
  stops.set(id, () => stop());
  return () => {
    subscriptions.delete(id);
    stops.get(id)?.();
    stops.delete(id);
  };
}

const stops = new Map<number, () => void>();

function begin(by: Client, id: number): () => void {
  const subscription = subscriptions.get(id);
  if (!subscription) return () => {};
  const { query, variables, watcher } = subscription;
  const current = () => by === client && subscriptions.has(id);
  return by.subscribe({ query, variables: variables as Record<string, unknown> }, {
    next: ({ data, errors }) => {
      if (!current()) return;
      if (errors?.[0]) watcher.failed?.(String(errors[0].message));
      else watcher.next(data);
    },
    error: (error) => {
      if (!current() || !Array.isArray(error)) return; // the end of a socket: it begins again with the next one
      subscriptions.delete(id);
      watcher.failed?.(String(error[0]?.message ?? 'The subscription was refused.'));
    },
    complete: () => {
      if (!current()) return;
      subscriptions.delete(id);
      watcher.done?.();
    },
  });
}

function open(): void {
  clearTimeout(restarting);
  const made = createClient({
    url: Object.assign(new URL(address), { protocol: address.protocol === 'https:' ? 'wss:' : 'ws:' }).href,
    lazy: false,
    connectionParams: credentials,
    connectionAckWaitTimeout: HANDSHAKE_MS,
    keepAlive: PING_MS,
    jsonMessageReviver: exactly,
    retryAttempts: Infinity,
    shouldRetry: () => true,
    // Not all pages at the same moment.
    retryWait: (retries) => new Promise((done) => { setTimeout(done, Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** retries) * (0.75 + Math.random() / 2)); }),
    onNonLazyError: () => { if (made === client) restarting = setTimeout(reopen, LONGEST_WAIT_MS); }, // asking at once would be refused again
    on: {
      connected: () => { if (made === client) connection.set('live'); },
      closed: (event) => { if (made === client) connection.set(REFUSED.has((event as CloseEvent).code) ? 'refused' : 'lost'); },
    },
  });
  client = made;
  watchSilence(made);
  for (const id of subscriptions.keys()) {
    const stop = begin(made, id);
    stops.set(id, stop);
  }
}

// Gives up a socket that does not open, or from which no pong comes: a cut network closes nothing by itself.
function watchSilence(made: Client): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const heard = () => clearTimeout(timer);
  const expect = (ms: number) => {
    heard();
    timer = setTimeout(() => { if (made === client) made.terminate(); }, ms);
  };
  expect(OPEN_MS); // it is connecting already
  made.on('connecting', () => expect(OPEN_MS));
  made.on('connected', heard);
  made.on('ping', (received) => { if (!received) expect(PONG_MS); });
  made.on('pong', (received) => { if (received) heard(); });
  made.on('closed', heard);
}

function close(): void {
  clearTimeout(restarting);
  const old = client;
  client = null;
  void old?.dispose();
}

function reopen(): void {
  close();
  connection.set('connecting');
  open();
}

// Opens the socket, and keeps it while the tab is shown.
export function start(): void {
  if (!document.hidden) open();
  const anew = () => { if (client) reopen(); };
  token.listen(anew); // the old connection was let in by the old one
  addEventListener('online', anew);
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) close();
    else if (!client) reopen();
  });
}
