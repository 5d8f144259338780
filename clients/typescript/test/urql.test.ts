import { Client, gql } from '@urql/core';
import { expect, test } from 'vitest';
import { connect } from '../src/index.js';
import { urqlOptions } from '../src/urql.js';
import type { Client as SocketClient, Sink } from 'graphql-ws';

const READ = gql`
  {
    job(id: "job_1") {
      id
      version
      status
    }
  }
`;
const LIVE = gql`
  subscription {
    jobsUpdated {
      id
      version
      status
      change
    }
  }
`;
const job = (version: number, status: string) => ({ __typename: 'Job', id: 'job_1', version, status });

function connected() {
  const sinks: Sink<any>[] = [];
  const payloads: unknown[] = [];
  const socket = { subscribe: (payload: unknown, sink: Sink<any>) => (payloads.push(payload), sinks.push(sink), () => {}), on: () => () => {}, terminate() {}, dispose() {} };
  let state = job(1, 'QUEUED');
  const asked: string[] = [];
  const send = async (_: unknown, init?: RequestInit) => {
    asked.push(String(init?.body));
    return new Response(JSON.stringify({ data: { job: state } }), { headers: { 'content-type': 'application/json' } });
  };
  const api = connect({ url: 'http://api.example/graphql', fetch: send as typeof fetch, createClient: () => socket as unknown as SocketClient });
  return { api, sinks, payloads, asked, become: (next: typeof state) => void (state = next) };
}

test('neither a late answer nor the cache shows a job older than it was seen', async () => {
  const { api, sinks, asked } = connected();
  const client = new Client(urqlOptions(api));
  client.subscription(LIVE, {}).subscribe(() => {});
  await expect.poll(() => sinks.length).toBe(1);
  sinks[0]!.next({ data: { jobsUpdated: job(5, 'SUCCEEDED') } });
  expect((await client.query(READ, {})).data.job).toMatchObject({ version: 5, status: 'SUCCEEDED' });
  sinks[0]!.next({ data: { jobsUpdated: job(6, 'QUEUED') } });
  expect((await client.query(READ, {}, { requestPolicy: 'cache-only' })).data.job).toMatchObject({ version: 6, status: 'QUEUED' });
  expect(asked.length).toBe(1);
});

test('a client without queries is not told of gaps', async () => {
  const { api } = connected();
  let listening = 0;
  const counted = { ...api, onGap: (listener: () => void) => (listening++, api.onGap(listener), () => void listening--) };
  const running = new Client(urqlOptions(counted)).query(READ, {}).subscribe(() => {});
  expect(listening).toBe(1);
  running.unsubscribe();
  await expect.poll(() => listening).toBe(0);
});

test('an active query is fetched anew after a gap', async () => {
  const { api, payloads, become } = connected();
  const client = new Client(urqlOptions(api));
  const seen: unknown[] = [];
  client.query(READ, {}).subscribe(({ data }) => seen.push(data?.job.status));
  await expect.poll(() => seen).toEqual(['QUEUED']);
  become(job(4, 'FAILED'));
  client.subscription(LIVE, {}).subscribe(() => {});
  await expect.poll(() => payloads.length).toBe(1);
  JSON.stringify(payloads[0]); // as graphql-ws does when it sends
  JSON.stringify(payloads[0]); // and again, on the next socket
  await expect.poll(() => seen.at(-1)).toBe('FAILED');
});
