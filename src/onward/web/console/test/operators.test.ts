import assert from 'node:assert/strict';
import test from 'node:test';
import type { Handlers } from '../src/generated/handlers';
import { change, isSlower, limitText, oldestFirst, rowsOf, sorted } from '../src/handlers';

const figures = (handler: string, p95: number | null, failed = 0) => ({
  handler, enqueued: 9, succeeded: 9 - failed, failed, retried: 0, wait: { p50: 0, p95: 0 }, run: { p50: p95, p95 },
});
const TOLD: Handlers = {
  system: {
    handlers: ['b.quick', 'a.slow'],
    paused: [{ handler: 'c.gone', since: '2026-01-01T00:00:00Z', by: 'root' }],
    limits: [{ handler: 'a.slow', key: null, concurrency: 3, starts: 100, periodSeconds: 60 }],
    waiting: [
      { handler: 'a.slow', backend: 'background', queue: 'default', depth: 2, oldestAt: '2026-01-01T00:02:00Z', blocked: 1 },
      { handler: 'a.slow', backend: 'dramatiq', queue: 'gpu', depth: 3, oldestAt: '2026-01-01T00:01:00Z', blocked: 0 },
      { handler: 'd.other', backend: 'background', queue: 'default', depth: 0, oldestAt: null, blocked: 4 },
    ],
  },
  now: [figures('a.slow', 4), figures('b.quick', 0.1, 2)],
  earlier: [figures('a.slow', 2), figures('b.quick', null)],
};

test('a handler has a row if it is known, paused or waited for', () => {
  const [slow, quick, gone, other] = rowsOf(TOLD);
  assert.deepEqual([slow!.handler, slow!.depth, slow!.blocked, slow!.oldestAt, slow!.known], ['a.slow', 5, 1, '2026-01-01T00:01:00Z', true]);
  assert.deepEqual([quick!.handler, quick!.depth, quick!.oldestAt, quick!.pause], ['b.quick', 0, null, null]);
  assert.deepEqual([gone!.handler, gone!.known, gone!.pause?.by, gone!.now], ['c.gone', false, 'root', null]);
  assert.deepEqual([other!.handler, other!.blocked, other!.oldestAt], ['d.other', 4, null]);
});

test('a handler is slower than before only where both times are known', () => {
  const [slow, quick] = rowsOf(TOLD);
  assert.deepEqual([change(slow!), isSlower(slow!), change(quick!), isSlower(quick!)], [2, true, 1, false]);
});

test('rows are in the order that is asked for, and by name where they are equal', () => {
  const order = (by: Parameters<typeof sorted>[1]) => sorted(rowsOf(TOLD), by).map(({ handler }) => handler[0]).join('');
  assert.deepEqual(['name', 'waiting', 'failed', 'slow', 'slower'].map((by) => order(by as 'name')), ['abcd', 'adbc', 'bacd', 'abcd', 'abcd']);
});

test('queues are in the order of their oldest jobs, and those whose jobs are all held back come last', () => {
  const [first, second, third] = TOLD.system.waiting;
  assert.deepEqual(oldestFirst([third!, first!, second!]), [second, first, third]);
});

test('a limit is told in words', () => {
  const limit = (of: object) => limitText({ handler: 'a', key: null, concurrency: null, starts: null, periodSeconds: null, ...of });
  assert.equal(limit({ concurrency: 3, starts: 100, periodSeconds: 60 }), '3 at once, 100 per minute');
  assert.equal(limit({ key: 'crm', starts: 5, periodSeconds: 86_400 }), '5 per day, for each crm');
  assert.equal(limit({ concurrency: 1, starts: 5, periodSeconds: 90 }), '1 at once, 5 per 90 seconds');
});
