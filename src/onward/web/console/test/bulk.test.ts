import assert from 'node:assert/strict';
import test from 'node:test';
import { inPieces, narrowed, PIECE, type Piece } from '../src/bulk';

const NOW = Date.parse('2026-01-01T12:00:00Z');
const answers = (...pieces: Piece[]) => {
  const limits: number[] = [];
  const places: (string | null)[] = [];
  return { limits, places, send: async (limit: number, after: string | null) => { limits.push(limit); places.push(after); return pieces.shift()!; } };
};
const piece = (count: number, endCursor: string | null, code?: string): Piece => ({ count, endCursor, errors: code ? [{ code, message: `${code}.` }] : [] });
const never = () => false;

test('pieces are sent until all are changed', async () => {
  const { limits, places, send } = answers(piece(PIECE, 'a'), piece(PIECE, 'b'), piece(30, null));
  const told: number[] = [];
  assert.deepEqual(await inPieces(2 * PIECE + 30, send, (done) => told.push(done), never), { done: 430, left: 0, error: null });
  assert.deepEqual([limits, told], [[PIECE, PIECE, 30], [PIECE, 2 * PIECE, 430]]);
  assert.deepEqual(places, [null, 'a', 'b']);
});

test('a piece whose jobs are all refused is followed by the next one', async () => {
  const { places, send } = answers(piece(0, 'a'), piece(0, 'b', 'UNAVAILABLE'), piece(20, null));
  assert.deepEqual(await inPieces(420, send, () => {}, never), { done: 20, left: 400, error: null });
  assert.deepEqual(places, [null, 'a', 'b']);
});

test('a piece whose time was over is followed by the next one', async () => {
  const { send } = answers(piece(90, 'a', 'UNAVAILABLE'), piece(110, null));
  assert.deepEqual(await inPieces(200, send, () => {}, never), { done: 200, left: 0, error: null });
});

test('it ends where nothing is left, where it is refused, and where it is stopped', async () => {
  assert.deepEqual(await inPieces(500, answers(piece(190, 'a'), piece(0, null)).send, () => {}, never), { done: 190, left: 310, error: null });
  assert.deepEqual(await inPieces(500, answers(piece(7, 'a', 'RATE_LIMITED')).send, () => {}, never), { done: 7, left: 493, error: 'RATE_LIMITED.' });
  assert.deepEqual(await inPieces(500, answers(piece(0, null, 'UNAVAILABLE')).send, () => {}, never), { done: 0, left: 500, error: 'UNAVAILABLE.' });
  let done = 0;
  assert.deepEqual(await inPieces(500, answers(piece(200, 'a'), piece(200, 'b')).send, (now) => { done = now; }, () => done > 0), { done: 200, left: 300, error: null });
});

test('a filter is narrowed to the jobs that the command can change now', () => {
  assert.deepEqual(narrowed('retry', { handler: ['a.b'] }, NOW), { handler: ['a.b'], status: ['FAILED', 'CANCELLED'], finishedBefore: '2026-01-01T12:00:02.000Z' });
  assert.deepEqual(narrowed('retry', { status: ['FAILED', 'QUEUED'], finishedBefore: 'then' }, NOW), { status: ['FAILED'], finishedBefore: 'then' });
  assert.deepEqual(narrowed('cancel', { status: ['FAILED'] }, NOW).status, []);
  assert.deepEqual(narrowed('cancel', {}, NOW), { status: ['SCHEDULED', 'QUEUED', 'RUNNING', 'RETRYING', 'WAITING'], createdBefore: '2026-01-01T12:00:02.000Z' });
});
