import { createContext, createElement, type ReactNode, useContext, useEffect, useState } from 'react';
import { followJob, type Followed, type JobDocument, type JobSource } from './follow.js';

const Source = createContext<JobSource | undefined>(undefined);

/** Gives `useJob` the source that runs its subscriptions. */
export function OnwardProvider({ source, children }: { source: JobSource; children?: ReactNode }) {
  return createElement(Source.Provider, { value: source }, children);
}

/** A job as far as it is known; `error` is why it is followed no longer. */
export interface LiveJob<Job> {
  readonly job: Job | undefined;
  readonly error: Error | undefined;
}

const NOTHING: LiveJob<never> = { job: undefined, error: undefined };

/**
 * The job live, to its end, and on from there if it is retried. Without an id there is nothing to follow.
 *
 * The document is a subscription to `jobUpdated(id: $id)` that selects at least `id version done`.
 */
export function useJob<Job extends Followed>(id: string | null | undefined, document: JobDocument<Job>): LiveJob<Job> {
  const source = useContext(Source);
  if (!source) throw new Error('useJob: wrap the page in <OnwardProvider source={...}>');
  const [live, setLive] = useState<LiveJob<Job> & { of?: string }>(NOTHING);
  useEffect(() => {
    if (!id) return;
    return followJob(source, document, id, {
      next: (job) => setLive({ of: id, job, error: undefined }),
      error: (error) => setLive((before) => ({ of: id, job: before.of === id ? before.job : undefined, error })),
    });
  }, [source, document, id]);
  return live.of === id ? live : NOTHING;
}
