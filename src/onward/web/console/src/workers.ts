// The rows of the page of processes, each with its running jobs.
import type { Workers } from './generated/workers';

export interface RunningJob { id: string; handler: string; since: string | null }
export type Row = Workers['workers'][number] & { jobs: readonly RunningJob[] };

export const ROLES: Record<string, string> = {
  worker: 'worker',
  api: 'API, and its background jobs',
  dramatiq: "worker of Dramatiq's command line",
  isolated: 'runs single jobs apart',
  unknown: 'of an older release',
};

// A job is run by the process of its last attempt. The longest running comes first.
export function rowsOf({ workers, running }: Workers): Row[] {
  const byName = new Map<string, RunningJob[]>();
  for (const { id, handler, attempts } of running.nodes) {
    const last = attempts.at(-1);
    if (last) byName.set(last.worker, [...byName.get(last.worker) ?? [], { id, handler, since: last.startedAt }]);
  }
  return workers.map((worker) => ({
    ...worker,
    jobs: (byName.get(worker.name) ?? []).sort((a, b) => (a.since ?? '').localeCompare(b.since ?? '')),
  }));
}
