import { type ComponentType, type ReactNode, StrictMode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { createClient } from 'graphql-ws';
import { connect, outcome, type JobSource } from 'onward-client';
import { OnwardProvider, useJob } from 'onward-client/react';
import { type Job, type Payload, Watch } from './documents';

declare global {
  interface Window {
    /** Makes a token that soon runs out: a function of the test. */
    mint(): Promise<string>;
    /** The states of each row, in the order in which they were shown. */
    shown: Record<string, string[]>;
    refused: string[];
  }
}

const query = new URLSearchParams(location.search);
const ticks = Number(query.get('ticks'));

let token: { text: string; until: number } | undefined;
export const api = connect({
  url: query.get('api')!,
  createClient,
  retryForMs: 180_000, // a busy machine takes its time for two restarts
  token: async (refused) => {
    if (refused || !token || Date.now() > token.until) {
      const text = await window.mint();
      token = { text, until: JSON.parse(atob(text.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/'))).exp * 1000 };
    }
    return token.text;
  },
});

window.shown = {};
window.refused = [];
export function show(kind: string, job: Job) {
  (window.shown[`${kind} ${job.id}`] ??= []).push(`${job.version} ${job.status}`);
}

/** The newest version of each job that `jobsUpdated` has told. */
const heard = new Map<string, number>();
export const hear = ({ id, version }: Job) => void heard.set(id, version);

function Row({ id, cached }: { id: string; cached: Job | undefined }) {
  const { job, error } = useJob(id, Watch);
  useEffect(() => void (job && show('useJob', job)), [job]);
  useEffect(() => void (cached && show('cache', cached)), [cached]);
  return (
    <li data-done={job?.done && cached?.done ? 'yes' : 'no'} data-id={id}>
      {job?.status} {cached?.status} {error?.message}
    </li>
  );
}

/** A row for each job; `send` sends a mutation, `useCached` gives a job as the client's cache has it. */
export function open({ source, send, useCached, Frame }: {
  source: JobSource;
  send(ticks: number): Promise<{ payload: Payload | null | undefined; error: unknown }>;
  useCached(id: string): Job | undefined;
  Frame: ComponentType<{ children: ReactNode }>;
}) {
  const Cached = ({ id }: { id: string }) => <Row id={id} cached={useCached(id)} />;

  function Page() {
    const [ids, setIds] = useState<string[]>([]);
    const one = async () => {
      const { payload, error } = await send(ticks);
      const found = outcome(payload, error);
      if (found.ok && found.job.version < (heard.get(found.job.id) ?? 0)) window.refused.push('an older state');
      if (found.ok) setIds((before) => [...before, found.job.id]);
      else window.refused.push(...found.errors.map(({ code, message }) => `${code}: ${message}`));
    };
    return (
      <>
        {[1, 20, 80].map((count) => (
          <button key={count} onClick={() => Array.from({ length: count }, () => void one())}>
            Send {count}
          </button>
        ))}
        <ul>
          {ids.map((id) => (
            <Cached key={id} id={id} />
          ))}
        </ul>
      </>
    );
  }

  createRoot(document.getElementById('root')!).render(
    <StrictMode>
      <Frame>
        <OnwardProvider source={source}>
          <Page />
        </OnwardProvider>
      </Frame>
    </StrictMode>,
  );
}
