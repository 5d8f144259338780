import { parse } from 'graphql';
import { expect, test } from 'vitest';
import { JobMemory } from '../src/index.js';

const job = (version: number, more: object = {}) => ({ id: 'job_1', version, ...more });

test('an older answer gets the newest known fields, however deep it lies', () => {
  const memory = new JobMemory();
  memory.fold({ jobUpdated: job(5, { status: 'SUCCEEDED', done: true }) });
  const late = { registerUser: { job: { ...job(1), status: 'QUEUED', done: false, handler: 'email.welcome' }, list: [{ node: job(2, { status: 'RUNNING' }) }] } };
  expect(memory.fold(late)).toEqual({
    registerUser: {
      job: job(5, { status: 'SUCCEEDED', done: true, handler: 'email.welcome' }),
      list: [{ node: job(5, { status: 'SUCCEEDED' }) }],
    },
  });
  expect(late.registerUser.job.status).toBe('QUEUED'); // what came is not written to
});

test('an answer in which nothing is older stays the same object', () => {
  const memory = new JobMemory();
  memory.fold({ job: job(3) });
  const answer = { jobs: { nodes: [job(3), { id: 'user_1', version: 1 }, null] } };
  expect(memory.fold(answer)).toBe(answer);
});

test('a field is replaced by one with the same selection only', () => {
  const memory = new JobMemory();
  const live = parse('subscription { jobUpdated(id: 1) { ...Live } } fragment Live on Job { id version progress { done: completed } steps { name } }');
  memory.fold({ jobUpdated: job(5, { progress: { done: 9 }, steps: [{ name: 'a' }] }) }, live);
  const query = parse('{ job(id: 1) { id version ... on Job { now: progress { done: completed } } steps { name status } } }');
  expect(memory.fold({ job: job(2, { now: null, steps: [] }) }, query)).toEqual({ job: job(5, { now: { done: 9 }, steps: [] }) });
});

test('a field with arguments keeps its own value, and the jobs in it are followed', () => {
  const memory = new JobMemory();
  const document = (first: number) => parse(`{ job(id: 1) { id version children(first: ${first}) { nodes { id version status } } } }`);
  memory.fold({ job: job(5, { children: { nodes: [{ id: 'job_2', version: 4, status: 'FAILED' }] } }) }, document(1));
  const late = { job: job(2, { children: { nodes: [{ id: 'job_2', version: 1, status: 'QUEUED' }, { id: 'job_3', version: 1, status: 'QUEUED' }] } }) };
  expect(memory.fold(late, document(2)).job).toEqual(
    job(5, { children: { nodes: [{ id: 'job_2', version: 4, status: 'FAILED' }, { id: 'job_3', version: 1, status: 'QUEUED' }] } }),
  );
});

test('a job keeps the change of its own answer, from which nothing is missed', () => {
  const memory = new JobMemory();
  memory.fold({ jobUpdated: job(5, { status: 'SUCCEEDED', change: 'c9' }) });
  const page = { jobs: { change: 'c3', nodes: [job(2, { status: 'RUNNING', change: 'c2' })] } };
  expect(memory.fold(page)).toEqual({ jobs: { change: 'c3', nodes: [job(5, { status: 'SUCCEEDED', change: 'c2' })] } });
  const document = parse('{ jobs { change nodes { id version position: change } } }');
  const named = { jobs: { change: 'c3', nodes: [{ ...job(2), position: 'c2' }] } };
  expect(memory.fold(named, document).jobs.nodes[0]!.position).toBe('c2');
});

test('the JSON of a result is no job, whatever it looks like', () => {
  const memory = new JobMemory();
  memory.fold({ job: job(5) });
  const answer = { job: { id: 'job_2', version: 1, result: job(1, { mine: true }) } };
  expect(memory.fold(answer, parse('{ job(id: 2) { id version result } }'))).toBe(answer);
});

test('it holds so many jobs, and those that were seen last', () => {
  const memory = new JobMemory({ limit: 2 });
  for (const id of ['job_1', 'job_2', 'job_1', 'job_3']) memory.fold({ id, version: 7 });
  expect(['job_1', 'job_2', 'job_3'].map((id) => memory.version(id))).toEqual([7, 0, 7]);
});

test('listeners are told of newer versions alone, until they leave', async () => {
  const memory = new JobMemory();
  const told: number[] = [];
  const leave = memory.listen('job_1', (version) => told.push(version));
  for (const version of [2, 1, 2, 4]) memory.fold(job(version));
  await Promise.resolve();
  leave();
  memory.fold(job(5));
  await Promise.resolve();
  expect(told).toEqual([2, 4]);
});
