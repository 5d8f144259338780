import assert from 'node:assert/strict';
import test from 'node:test';
import { inPieces, narrowed, PIECE, type Piece } from '../src/bulk';

const NOW = Date.parse('2026-01-01T12:00:00Z');
const answers = (...pieces: Piece[]) => {
  const limits: number[] = [];
  return { limits, send: async (limit: number) => { limits.push(limit); return pieces.shift()!; } };
};
const piece = (count: number, code?: string): Piece => ({ count, errors: code ? [{ code, message: `${code}.` }] : [] });
const never = () => false;

test('pieces are sent until all are changed', async () => {
  const { limits, send } = answers(piece(PIECE), piece(PIECE), piece(30));
  const told: number[] = [];
  assert.deepEqual(await inPieces(2 * PIECE + 30, send, (done) => told.push(done), never), { done: 430, left: 0, error: null });
  assert.deepEqual([limits, told], [[PIECE, PIECE, 30], [PIECE, 2 * PIECE, 430]]);
});

test('a piece whose time was over is followed by the next one', async () => {
  const { send } = answers(piece(90, 'UNAVAILABLE'), piece(110));
  assert.deepEqual(await inPieces(200, send, () => {}, never), { done: 200, left: 0, error: null });
});

test('it ends where nothing is left, where it is refused, and where it is stopped', async () => {
  assert.deepEqual(await inPieces(500, answers(piece(190), piece(0)).send, () => {}, never), { done: 190, left: 310, error: null });
  assert.deepEqual(await inPieces(500, answers(piece(7, 'RATE_LIMITED')).send, () => {}, never), { done: 7, left: 493, error: 'RATE_LIMITED.' });
  assert.deepEqual(await inPieces(500, answers(piece(0, 'UNAVAILABLE')).send, () => {}, never), { done: 0, left: 500, error: 'UNAVAILABLE.' });
  let done = 0;
  assert.deepEqual(await inPieces(500, answers(piece(200), piece(200)).send, (now) => { done = now; }, () => done > 0), { done: 200, left: 300, error: null });
});

test('a filter is narrowed to the jobs that the command can change now', () => {
  assert.deepEqual(narrowed('retry', { handler: ['a.b'] }, NOW), { handler: ['a.b'], status: ['FAILED', 'CANCELLED'], finishedBefore: '2026-01-01T12:00:02.000Z' });
  assert.deepEqual(narrowed('retry', { status: ['FAILED', 'QUEUED'], finishedBefore: 'then' }, NOW), { status: ['FAILED'], finishedBefore: 'then' });
  assert.deepEqual(narrowed('cancel', { status: ['FAILED'] }, NOW).status, []);
  assert.deepEqual(narrowed('cancel', {}, NOW), { status: ['SCHEDULED', 'QUEUED', 'RUNNING', 'RETRYING', 'WAITING'], createdBefore: '2026-01-01T12:00:02.000Z' });
});
