import { expect, expectTypeOf, test } from 'vitest';
import { keyed, outcome, type RequestError } from '../src/index.js';

type Code = 'INVALID' | 'CONFLICT';
interface Payload {
  user: { username: string } | null;
  job: { id: string } | null;
  errors: { code: Code; message: string; path: string[] | null }[];
}
const invalid = { code: 'INVALID' as const, message: 'No.', path: ['email'] };

test('a payload is a job or errors', () => {
  const found = outcome<Payload>({ user: null, job: { id: 'job_1' }, errors: [] });
  if (!found.ok) throw new Error();
  expectTypeOf(found.job).toEqualTypeOf<{ id: string }>();
  expect(found.job.id).toBe('job_1');
  const refused = outcome<Payload>({ user: null, job: null, errors: [invalid] });
  if (refused.ok) throw new Error();
  expectTypeOf(refused.errors[0]!).toEqualTypeOf<Payload['errors'][number] | RequestError>();
  expect(refused.errors).toEqual([invalid]);
});

test.each([
  [undefined, 'NO_ANSWER'],
  [new TypeError('Failed to fetch'), 'NO_ANSWER'],
  [{ message: '[GraphQL] Away.', graphQLErrors: [{ message: 'Away.', extensions: { code: 'TIMEOUT' } }] }, 'TIMEOUT'], // urql
  [{ message: 'Away.', errors: [{ message: 'Away.', extensions: { code: 'TIMEOUT' } }] }, 'TIMEOUT'], // Apollo
])('without a payload the error of the request is told: %o', (error, code) => {
  const found = outcome<Payload>(null, error);
  expect(found).toMatchObject({ ok: false, errors: [{ code, path: null }] });
});

test('an input gets one key, and keeps it', () => {
  interface Input {
    item: string;
    idempotencyKey?: string | null;
  }
  const input: Input = { item: 'x' };
  const first = keyed(input);
  expect(first.idempotencyKey).toMatch(/^[\w-]{32,}$/);
  expect(keyed(first)).toEqual(first);
  expect(keyed(input).idempotencyKey).not.toBe(first.idempotencyKey);
});
