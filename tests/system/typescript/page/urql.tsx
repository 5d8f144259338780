import { Client } from '@urql/core';
import { urqlOptions, urqlSource } from 'onward-client/urql';
import { createContext, type ReactNode, useContext, useEffect, useState } from 'react';
import { Provider, useQuery, useSubscription } from 'urql';
import { input, type Job, Live, Newest, Send } from './documents';
import { api, hear, open } from './page';

const client = new Client(urqlOptions(api));
const Kept = createContext<Record<string, Job>>({});
const answered = new EventTarget();

/** The last job that came by each id, in whatever answer: as urql's own cache knows no job. */
function Frame({ children }: { children: ReactNode }) {
  const [kept, setKept] = useState<Record<string, Job>>({});
  // An effect runs after other answers: what it keeps goes through the memory once more.
  const keep = (...jobs: Job[]) =>
    setKept((before) => ({ ...before, ...Object.fromEntries(api.memory.fold(jobs).map((job) => [job.id, job])) }));
  const [{ data }] = useQuery({ query: Newest });
  useEffect(() => void (data && keep(...data.jobs.nodes)), [data]);
  useEffect(() => {
    const heard = (event: Event) => keep((event as CustomEvent<Job>).detail);
    answered.addEventListener('job', heard);
    return () => answered.removeEventListener('job', heard);
  }, []);
  return (
    <Kept.Provider value={kept}>
      {data && <Changes after={data.jobs.change} keep={keep} />}
      {children}
    </Kept.Provider>
  );
}

function Changes({ after, keep }: { after: string; keep(job: Job): void }) {
  const [variables] = useState({ afterChange: after });
  useSubscription({ query: Live, variables }, (_, data) => {
    hear(data.jobsUpdated);
    queueMicrotask(() => keep(data.jobsUpdated));
    return data;
  });
  return null;
}

open({
  source: urqlSource(client, api),
  send: async (ticks) => {
    const { data, error } = await client.mutation(Send, { input: input(ticks) });
    if (data?.slowCount?.job) answered.dispatchEvent(new CustomEvent('job', { detail: data.slowCount.job }));
    return { payload: data?.slowCount, error };
  },
  useCached: (id) => useContext(Kept)[id],
  Frame: ({ children }) => (
    <Provider value={client}>
      <Frame>{children}</Frame>
    </Provider>
  ),
});
