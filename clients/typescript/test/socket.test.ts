import { createClient } from 'graphql-ws';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { connect } from '../src/index.js';
import { accept, FakeSocket, type Message } from './sockets.js';

const ONE = 'subscription One($id: ID!) { jobUpdated(id: $id) { id version done } }';
const MANY = 'subscription Many($afterChange: String) { jobsUpdated(afterChange: $afterChange) { id version change } }';

const now = () => new Response(JSON.stringify({ data: { jobs: { change: 'now' } } }));
let answer: () => Response; // to a request over HTTP

beforeEach(() => {
  answer = now;
  vi.useFakeTimers();
  FakeSocket.all = [];
  FakeSocket.answer = accept;
});
afterEach(() => void vi.useRealTimers());

function connected(token?: (refused: boolean) => string | Promise<string>) {
  const heard: string[] = [];
  const send = async (_: unknown, init?: RequestInit) => {
    heard.push(`asked ${String(init?.body)}`);
    return answer();
  };
  const api = connect({ url: 'http://api.example/graphql', createClient, token, fetch: send as typeof fetch, socket: { webSocketImpl: FakeSocket } });
  const run = (query: string, variables: Record<string, unknown> = {}) =>
    api.subscribe(
      { query, variables },
      {
        next: ({ data }) => heard.push(JSON.stringify(data)),
        error: (error) => heard.push(`error ${(error as CloseEvent).code ?? JSON.stringify(error)}`),
        complete: () => heard.push('complete'),
      },
    );
  return { api, heard, run };
}

const pass = (ms = 100) => vi.advanceTimersByTimeAsync(ms);
const newest = () => FakeSocket.all.at(-1)!;
const tell = (socket: FakeSocket, data: object, index = 0) => {
  const { id } = socket.sent.filter(({ type }) => type === 'subscribe')[index]!;
  socket.say({ id, type: 'next', payload: { data } });
};

test.each([1001, 1006, 1012, 1013, 4408, 4499])('a socket that closes with %i comes back, however often', async (code) => {
  const { heard, run } = connected();
  run(ONE, { id: 'job_1' });
  for (let times = 0; times < 12; times++) {
    await pass(11_000);
    newest().close(code);
  }
  await pass(11_000);
  expect(heard).toEqual([]);
  expect(newest().subscribed).toEqual([{ query: ONE, variables: { id: 'job_1' } }]);
});

test('a socket whose token has run out comes back with a new one', async () => {
  const asked: boolean[] = [];
  const { heard, run } = connected((refused) => `token ${asked.push(refused)}`);
  run(ONE, { id: 'job_1' });
  for (let times = 0; times < 5; times++) {
    await pass(2_000);
    newest().close(4403, 'The bearer token has expired.');
  }
  await pass(2_000);
  expect(asked).toEqual([false, true, true, true, true, true]);
  expect(newest().sent[0]).toEqual({ type: 'connection_init', payload: { Authorization: 'Bearer token 6' } });
  expect(heard).toEqual([]);
});

test('it gives up on a token that is refused twice in a row, and on no other', async () => {
  let good = false;
  FakeSocket.answer = (socket, message) => {
    if (good) accept(socket, message);
    else if (message.type === 'connection_init') socket.close(4403, 'A valid bearer token is needed.');
    good = !good;
  };
  const { heard, run } = connected(() => 'wrong');
  run(ONE, { id: 'job_1' });
  await pass(2_000);
  expect(FakeSocket.all.length).toBe(2);
  expect(heard).toEqual([]); // refused once, then accepted
  FakeSocket.answer = (socket, { type }) => void (type === 'connection_init' && socket.close(4403, 'A valid bearer token is needed.'));
  newest().close(1006);
  await pass(60_000);
  expect(FakeSocket.all.length).toBe(4);
  expect(heard).toEqual(['error 4403']);
  FakeSocket.answer = () => {};
  run(ONE, { id: 'job_1' }); // as after signing in
  await pass(11_000);
  FakeSocket.answer = accept;
  newest().close(1006);
  await pass(11_000);
  expect(newest().subscribed.length).toBe(1);
});

test('a token that cannot be fetched is asked for again', async () => {
  let asked = 0;
  const { heard, run } = connected(async () => {
    if (++asked < 4) throw new TypeError('Failed to fetch');
    return 'good';
  });
  run(ONE, { id: 'job_1' });
  await pass(60_000);
  expect(heard).toEqual([]);
  expect(newest().subscribed.length).toBe(1);
});

test('a socket without pongs is given up for a new one', async () => {
  const { run } = connected();
  run(ONE, { id: 'job_1' });
  await pass(20_000);
  expect(FakeSocket.all.length).toBe(2);
  FakeSocket.answer = (socket, message: Message) => (message.type === 'ping' ? socket.say({ type: 'pong' }) : accept(socket, message));
  newest().close(1006);
  await pass(90_000);
  expect(FakeSocket.all.length).toBe(3);
});

test('more subscriptions than a socket takes get a second socket, and a free place is used again', async () => {
  const { run } = connected();
  const ends = Array.from({ length: 45 }, (_, number) => run(ONE, { id: `job_${number}` }));
  await pass();
  expect(FakeSocket.all.map((socket) => socket.subscribed.length)).toEqual([20, 20, 5]);
  ends[0]!();
  ends[0]!();
  await pass();
  run(ONE, { id: 'job_new' });
  await pass();
  expect(FakeSocket.all.map((socket) => socket.subscribed.length)).toEqual([21, 20, 5]);
});

test('jobsUpdated goes on after the last change that was seen', async () => {
  const { api, run } = connected();
  let gaps = 0;
  api.onGap(() => gaps++);
  run(MANY, { afterChange: 'c0' });
  await pass();
  newest().close(1006);
  await pass(2_000);
  tell(newest(), { jobsUpdated: { id: 'job_1', version: 1, change: 'c1' } });
  tell(newest(), { jobsUpdated: { id: 'job_2', version: 1, change: 'c2' } });
  newest().close(1012);
  await pass(2_000);
  expect(FakeSocket.all.map((socket) => socket.subscribed[0]!.variables)).toEqual([{ afterChange: 'c0' }, { afterChange: 'c0' }, { afterChange: 'c2' }]);
  expect(gaps).toBe(0);
});

test('where it cannot go on, the page is told to fetch anew', async () => {
  const { api, heard, run } = connected();
  let gaps = 0;
  api.onGap(() => gaps++);
  run(MANY);
  await pass();
  newest().close(1006); // before any change was seen
  await pass(2_000);
  expect(gaps).toBe(1);
  tell(newest(), { jobsUpdated: { id: 'job_1', version: 1, change: 'c1' } });
  const { id } = newest().sent.find(({ type }) => type === 'subscribe')!;
  newest().say({ id, type: 'error', payload: [{ message: 'Too old.', extensions: { code: 'BAD_CHANGE' } }] });
  await pass(2_000);
  expect(gaps).toBe(2);
  expect(newest().subscribed.map(({ variables }) => variables)).toEqual([{}, { afterChange: 'now' }]);
  expect(heard).toEqual([expect.stringContaining('c1'), expect.stringContaining('jobs(first: 0) { change }')]);
});

test('after a change that is lost it goes on from a new one, and the page fetches after that was read', async () => {
  const { api, heard, run } = connected();
  api.onGap(() => heard.push(`gap ${newest().subscribed.length}`));
  run(MANY, { afterChange: 'c0' });
  await pass();
  const fail = (index: number) => newest().say({ id: newest().sent.filter(({ type }) => type === 'subscribe')[index]!.id, type: 'error', payload: [{ message: 'x', extensions: { code: 'BAD_CHANGE' } }] });
  fail(0);
  await pass(2_000);
  expect(heard.map((one) => one.split(' ')[0])).toEqual(['asked', 'gap']);
  expect(heard[1]).toBe('gap 2');
  newest().close(1006); // the page was fetched since: it misses nothing
  await pass(2_000);
  expect(FakeSocket.all.flatMap((socket) => socket.subscribed.map(({ variables }) => variables.afterChange))).toEqual(['c0', 'now', 'now']);
  expect(heard.length).toBe(2);
});

test('without an answer it begins anywhere, and the page fetches once it has surely begun', async () => {
  answer = () => new Response('{"errors": [{"message": "no"}]}');
  const { api, heard, run } = connected();
  api.onGap(() => heard.push('gap'));
  run(MANY, { afterChange: 'c0' });
  await pass();
  newest().say({ id: newest().sent.find(({ type }) => type === 'subscribe')!.id, type: 'error', payload: [{ message: 'x', extensions: { code: 'LAGGING' } }] });
  await pass(3_000);
  expect(newest().subscribed.map(({ variables }) => variables)).toEqual([{ afterChange: 'c0' }, {}]);
  expect(heard.map((one) => one.split(' ')[0])).toEqual(['asked', 'gap']);
});

test('a subscription that was too slow goes on, and is given up where too much has changed', async () => {
  const { api, run } = connected();
  let gaps = 0;
  api.onGap(() => gaps++);
  run(MANY);
  await pass();
  const lag = (times: number) => newest().say({ id: newest().sent.filter(({ type }) => type === 'subscribe')[times]!.id, type: 'error', payload: [{ message: 'x', extensions: { code: 'LAGGING' } }] });
  tell(newest(), { jobsUpdated: { id: 'job_1', version: 1, change: 'c1' } });
  lag(0);
  await pass(2_000);
  expect(gaps).toBe(0);
  lag(1);
  await pass(2_000);
  expect(gaps).toBe(1);
  expect(newest().subscribed.map(({ variables }) => variables)).toEqual([{}, { afterChange: 'c1' }, { afterChange: 'now' }]);
});

test('a socket that never opens is given up for another one', async () => {
  const open = FakeSocket.prototype.open;
  FakeSocket.prototype.open = () => {};
  const { run } = connected();
  run(ONE, { id: 'job_1' });
  await pass(20_000);
  FakeSocket.prototype.open = open;
  newest().close(1006);
  await pass(20_000);
  expect(newest().subscribed.length).toBe(1);
  expect(FakeSocket.all.length).toBeGreaterThan(2);
});

test.each(['LAGGING', 'UNAVAILABLE'])('%s ends no subscription; another error does', async (code) => {
  const { heard, run } = connected();
  FakeSocket.answer = (socket, message) => {
    accept(socket, message);
    const failing = socket.subscribed.length === 3 ? 'NOT_FOUND' : code;
    if (message.type === 'subscribe') socket.say({ id: message.id, type: 'error', payload: [{ message: 'x', extensions: { code: failing } }] });
  };
  run(ONE, { id: 'job_1' });
  await pass(30_000);
  expect(newest().subscribed.length).toBe(3);
  expect(heard).toEqual([expect.stringContaining('NOT_FOUND')]);
});

test('a subscription that has ended is told so once', async () => {
  const { heard, run } = connected();
  const end = run(ONE, { id: 'job_1' });
  await pass();
  newest().say({ id: newest().sent.find(({ type }) => type === 'subscribe')!.id, type: 'complete' });
  await pass();
  end();
  await pass();
  expect(heard).toEqual(['complete']);
});
