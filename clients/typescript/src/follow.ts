import type { TypedDocument } from './documents.js';
import type { JobMemory, Snapshot } from './memory.js';

/** A snapshot that tells whether the job is over. */
export interface Followed extends Snapshot {
  readonly done: boolean;
}

/** A subscription to `jobUpdated(id: $id)` that selects at least `id version done`. */
export type JobDocument<Job extends Followed> = TypedDocument<{ jobUpdated: Job }, { id: string }>;

/** Runs subscriptions, each answer folded into its memory: made by `apolloSource`, `urqlSource` or `plainSource`. */
export interface JobSource {
  readonly memory: JobMemory;
  subscribe<Job extends Followed>(document: JobDocument<Job>, id: string, sink: FollowSink<Job>): () => void;
}

export interface FollowSink<Job> {
  next(job: Job): void;
  error(error: Error): void;
}

/**
 * Follow a job live, until the returned function is called.
 *
 * The subscription ends with the job. If the job is retried, and any answer shows it, another one is begun.
 */
export function followJob<Job extends Followed>(source: JobSource, document: JobDocument<Job>, id: string, sink: FollowSink<Job>): () => void {
  let watching = 0; // the number of the subscription; its late messages are dropped
  let last: Job | undefined;
  let over = false;
  let stop = () => {};

  const watch = () => {
    const mine = ++watching;
    over = false;
    stop = source.subscribe(document, id, {
      next: (job) => {
        if (mine !== watching || (last && job.version < last.version)) return;
        last = job;
        over = job.done;
        sink.next(job);
      },
      error: (error) => {
        if (mine !== watching) return;
        over = true;
        sink.error(error);
      },
    });
  };
  watch();
  const unlisten = source.memory.listen(id, (version) => {
    if (!over || version <= (last?.version ?? 0)) return;
    stop();
    watch();
  });
  return () => {
    watching = -1;
    unlisten();
    stop();
  };
}
