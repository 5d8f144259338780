import { expect, test } from 'vitest';
import { followJob, JobMemory, type Followed, type FollowSink, type JobSource } from '../src/index.js';

const DOCUMENT = 'subscription Watch($id: ID!) { jobUpdated(id: $id) { id version done } }';
const job = (version: number, done = false) => ({ id: 'job_1', version, done });

function followed() {
  const memory = new JobMemory();
  const running: { sink: FollowSink<Followed>; ended: boolean }[] = [];
  const source: JobSource = {
    memory,
    subscribe(_document, _id, sink) {
      const one = { sink: sink as unknown as FollowSink<Followed>, ended: false };
      running.push(one);
      return () => void (one.ended = true);
    },
  };
  const heard: (Followed | string)[] = [];
  const leave = followJob<Followed>(source, DOCUMENT, 'job_1', { next: (one) => heard.push(one), error: ({ message }) => heard.push(message) });
  const answer = async (one: Followed) => {
    memory.fold(one);
    await Promise.resolve();
  };
  const tell = async (number: number, one: Followed) => {
    await answer(one);
    running[number]!.sink.next(one);
  };
  return { running, heard, leave, answer, tell };
}

test('a retried job is followed on, as soon as any answer shows it', async () => {
  const { running, heard, answer, tell } = followed();
  await tell(0, job(3));
  await answer(job(4)); // it is followed still
  await tell(0, job(5, true));
  await answer(job(5, true));
  expect(running.length).toBe(1);
  await answer(job(6));
  expect(running.map(({ ended }) => ended)).toEqual([true, false]);
  running[0]!.sink.next(job(9, true)); // too late
  await tell(1, job(6));
  await tell(1, job(8, true));
  expect(heard).toEqual([job(3), job(5, true), job(6), job(8, true)]);
});

test('after an error it is followed again once another answer shows it, and never once it is left', async () => {
  const { running, heard, leave, answer } = followed();
  running[0]!.sink.error(new Error('There is no such job.'));
  await answer(job(1));
  expect(running.length).toBe(2);
  leave();
  running[1]!.sink.next(job(2));
  await answer(job(3));
  expect([running.length, running[1]!.ended]).toEqual([2, true]);
  expect(heard).toEqual(['There is no such job.']);
});
