// One job: by the socket until it is done, and by asking while there is none; then by asking now and then, since others may retry it.
import { useEffect, useRef, useState } from 'preact/hooks';
import { job as asked, jobUpdated, type Whole } from '../../generated/job';
import { sentJob } from '../../generated/send';
import { ask, connection, subscribe, type ApiError } from '../../graphql';
import { token } from '../../token';
import { viewer } from '../../viewer';

const POLL_MS = 1_500;
const FRESHEN = 3; // at every third beat: while live, since `waitingFor` can change without a new version, and once it is over
const FOLD_MS = 50;

export interface Watched { job: Whole | null | undefined; error: ApiError | null } // undefined: not known yet; null: no such job

// `run` counts how often it was followed anew: by `again`, or since it was retried by somebody else.
export function useJob(id: string): Watched & { run: number; again: () => void } {
  const [state, setState] = useState<Watched>({ job: undefined, error: null });
  const [run, setRun] = useState(0);
  const again = () => setRun((number) => number + 1);
  const version = useRef(0);
  useEffect(() => {
    let stopped = false;
    let over = false;
    let frame: ReturnType<typeof setTimeout> | undefined;
    let latest: Whole | null = null;
    let beats = 0;
    const take = (job: Whole | null) => {
      if (stopped || (job && job.version < version.current)) return;
      version.current = job?.version ?? 0;
      latest = job;
      frame ??= setTimeout(() => { frame = undefined; if (!stopped) setState({ job: latest, error: null }); }, FOLD_MS);
      over = job?.done ?? false;
      if (over) leave();
    };
    const poll = async () => {
      try {
        take((await ask(asked, { id })).job);
      } catch (error) {
        if (!stopped) setState((known) => ({ ...known, error: error as ApiError }));
      }
    };
    const leave = subscribe(jobUpdated, { id }, { next: ({ jobUpdated: job }) => take(job), failed: poll, done: poll });
    // Somebody else may retry it; its version says so, without the whole of a large result.
    const look = async () => {
      const found = await ask(sentJob, { id }).catch(() => null);
      if (!stopped && found?.job && found.job.version > version.current) again();
    };
    const pulse = setInterval(() => {
      beats += 1;
      if (document.hidden || viewer.value?.refused) return;
      if (over) { if (beats % FRESHEN === 0) void look(); } else if (connection.value !== 'live' || beats % FRESHEN === 0) void poll();
    }, POLL_MS);
    const forget = token.listen(() => void poll());
    void poll();
    return () => {
      stopped = true;
      clearTimeout(frame);
      clearInterval(pulse);
      forget();
      leave();
    };
  }, [id, run]);
  return { ...state, run, again };
}
