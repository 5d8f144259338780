import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { onwardFetch } from '../src/index.js';
import { isRepeatable } from '../src/keyed.js';

const MUTATION = 'mutation M($input: RegisterUserInput!) { made: registerUser(input: $input) @include(if: true) { job { id } } }';
const body = (query: string, input: object = { idempotencyKey: 'k' }) => JSON.stringify({ query, variables: { input } });
const answer = (value: unknown, status = 200) => new Response(typeof value === 'string' ? value : JSON.stringify(value), { status });
const DONE = { data: { made: { job: { id: 'job_1' } } } };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function sent(answers: (() => Response)[], text = body(MUTATION), token?: (refused: boolean) => string) {
  const calls: RequestInit[] = [];
  const send = async (_: unknown, init: RequestInit = {}) => answers[Math.min(calls.push(init), answers.length) - 1]!();
  const end = onwardFetch({ fetch: send as typeof fetch, ...(token && { token }) })('/graphql', { method: 'POST', body: text }).then(
    (response) => response.text(),
    (error: Error) => error.name,
  );
  await vi.runAllTimersAsync();
  return { end: await end, calls };
}

test.each([
  ['a lost connection', () => { throw new TypeError('Failed to fetch'); }],
  ['half an answer', () => answer('{"data": {"ma')],
  ['a proxy without its server', () => answer('Bad Gateway', 502)],
  ['UNAVAILABLE', () => answer({ data: { made: { job: null, errors: [{ code: 'UNAVAILABLE' }] } } })],
  ['UNAVAILABLE of the request', () => answer({ errors: [{ message: 'x', extensions: { code: 'UNAVAILABLE' } }] })],
] as [string, () => Response][])('after %s a keyed mutation is sent again with its key', async (_, first) => {
  const { end, calls } = await sent([first, first, () => answer(DONE)]);
  expect(JSON.parse(end)).toEqual(DONE);
  expect(calls.map((call) => call.body)).toEqual([body(MUTATION), body(MUTATION), body(MUTATION)]);
});

test('it gives up after its time, with the last answer', async () => {
  const away = { errors: [{ message: 'x', extensions: { code: 'UNAVAILABLE' } }] };
  const { end, calls } = await sent([() => answer(away)]);
  expect(JSON.parse(end)).toEqual(away);
  expect(calls.length).toBeGreaterThan(5);
  expect((await sent([() => { throw new TypeError(); }])).end).toBe('TypeError');
});

test.each([
  ['no key', body(MUTATION, { username: 'x' })],
  ['a query', body('query Q($input: X) { jobs { nodes { id } } }')],
  ['two fields, of which one may have no key', body('mutation M($input: A!) { a(input: $input) { job { id } } b(input: {item: "x"}) { job { id } } }')],
  ['two fields by a fragment', body('mutation M($input: A!) { ...Both } fragment Both on Mutation { a(input: $input) { job { id } } b { job { id } } }')],
])('a request with %s is sent once', async (_, text) => {
  const { end, calls } = await sent([() => { throw new TypeError(); }], text);
  expect([end, calls.length]).toEqual(['TypeError', 1]);
});

test.each([
  'mutation ($input: A!) { a(input: $input) { job { ...J } } } fragment J on Job { id version }',
  'fragment J on Job { id version } mutation N($input: A = {item: "} {"}) @x(y: 1) { # { b }\n  a(input: $input, text: """ } b { """) { job { ...J } } }',
])('one mutation is told from several: %s', (query) => expect(isRepeatable(body(query))).toBe(true));

test('an answer of 401 asks for a new token, twice at most', async () => {
  const token = (refused: boolean) => (refused ? 'new' : 'old');
  const { calls } = await sent([() => answer({ errors: [] }, 401)], body('{ viewer { id } }'), token);
  expect(calls.map((call) => new Headers(call.headers).get('authorization'))).toEqual(['Bearer old', 'Bearer new', 'Bearer new']);
});
