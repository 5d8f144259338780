import { ApolloClient, ApolloLink, gql, InMemoryCache, type TypePolicies } from '@apollo/client';
import { of, Subject } from 'rxjs';
import { expect, test } from 'vitest';
import { newestLink, onwardLink, refetchLink } from '../src/apollo.js';
import { connect, JobMemory } from '../src/index.js';

const FIELDS = gql`
  fragment Fields on Job {
    id
    version
    status
    progress {
      completed
    }
  }
`;
const LIVE = gql`
  subscription {
    jobsUpdated {
      ...Fields
    }
  }
  ${FIELDS}
`;
const SEND = gql`
  mutation {
    processItem {
      job {
        ...Fields
      }
    }
  }
  ${FIELDS}
`;
const job = (version: number, status: string, completed: number) => ({
  __typename: 'Job',
  id: 'job_1',
  version,
  status,
  progress: { __typename: 'Progress', completed },
});

/** What the cache holds of the job, when the mutation's answer comes after the subscription's last word. */
async function late(link: ApolloLink | undefined, typePolicies: TypePolicies = {}) {
  const answers = { subscription: new Subject<any>(), mutation: new Subject<any>() };
  const server = new ApolloLink(({ operationType }) => answers[operationType as keyof typeof answers]);
  const client = new ApolloClient({ cache: new InMemoryCache({ typePolicies }), link: link ? link.concat(server) : server });
  client.subscribe({ query: LIVE }).subscribe();
  const sent = client.mutate({ mutation: SEND });
  const seen: unknown[] = [];
  client.watchFragment({ fragment: FIELDS, fragmentName: 'Fields', from: { __typename: 'Job', id: 'job_1' } }).subscribe(({ data }) => {
    if (data && (data as { status?: string }).status) seen.push((data as { status?: string }).status);
  });
  answers.subscription.next({ data: { jobsUpdated: job(5, 'SUCCEEDED', 9) } });
  await new Promise((resolve) => setTimeout(resolve));
  answers.mutation.next({ data: { processItem: { __typename: 'Payload', job: job(1, 'QUEUED', 0) } } });
  answers.mutation.complete();
  const answer = (await sent).data as any;
  const kept = (client.cache.extract() as Record<string, any>)['Job:job_1'];
  return { kept: [kept.version, kept.status, kept.progress.completed], answered: answer.processItem.job.version, seen };
}

test('a late answer of a mutation changes nothing in the cache', async () => {
  expect(await late(newestLink(new JobMemory()))).toEqual({ kept: [5, 'SUCCEEDED', 9], answered: 5, seen: ['SUCCEEDED'] });
});

test('an active query is fetched anew after a gap', async () => {
  const payloads: unknown[] = [];
  const socket = { subscribe: (payload: unknown) => (payloads.push(payload), () => {}), on: () => () => {}, terminate() {}, dispose() {} };
  let state = job(1, 'QUEUED', 0);
  const send = async () => new Response(JSON.stringify({ data: { job: state } }), { headers: { 'content-type': 'application/json' } });
  const api = connect({ url: 'http://api.example/graphql', fetch: send, createClient: () => socket as never });
  const client = new ApolloClient({ cache: new InMemoryCache(), link: onwardLink(api) });
  const seen: unknown[] = [];
  const read = gql('{ job(id: "job_1") { id version status progress { completed } } }');
  client.watchQuery<any>({ query: read }).subscribe(({ data }) => seen.push(data?.job?.status));
  await expect.poll(() => seen.at(-1)).toBe('QUEUED');
  state = job(4, 'FAILED', 0);
  client.subscribe({ query: LIVE }).subscribe();
  JSON.stringify(payloads[0]); // as graphql-ws does when it sends
  JSON.stringify(payloads[0]); // and again, on the next socket
  await expect.poll(() => seen.at(-1)).toBe('FAILED');
});

test('of two clients one after the other, the one in use fetches anew', async () => {
  let tell = () => {};
  const link = refetchLink({ onGap: (listener: () => void) => ((tell = listener), () => {}) } as never);
  const fetched: number[] = [];
  const clients = [0, 1].map((number) => {
    const server = new ApolloLink(() => (fetched.push(number), of({ data: { job: job(1, 'QUEUED', 0) } })));
    return new ApolloClient({ cache: new InMemoryCache(), link: link.concat(server) });
  });
  const read = gql('{ job(id: "job_1") { id version status progress { completed } } }');
  for (const client of clients) client.watchQuery({ query: read }).subscribe(() => {});
  await expect.poll(() => fetched).toEqual([0, 1]);
  tell();
  await expect.poll(() => fetched).toEqual([0, 1, 1]);
});

test('without the link it overwrites the job, and no type policy can prevent it', async () => {
  // `merge` of a type decides on the reference in the field that holds the job; the job's own fields are merged regardless.
  const told: unknown[] = [];
  const merge = (existing: any, incoming: any): any => {
    told.push(incoming);
    return existing ?? incoming;
  };
  expect((await late(undefined)).kept).toEqual([1, 'QUEUED', 0]);
  expect((await late(undefined, { Job: { merge } })).kept).toEqual([1, 'QUEUED', 0]);
  expect(told).toContainEqual({ __ref: 'Job:job_1' });
});
