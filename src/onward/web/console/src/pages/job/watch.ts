// One job until it is done: by the socket, and by asking while there is none.
import { useEffect, useRef, useState } from 'preact/hooks';
import { job as asked, jobUpdated, type Whole } from '../../generated/job';
import { ask, connection, subscribe, type ApiError } from '../../graphql';
import { token } from '../../token';

const POLL_MS = 1_500;
const FRESHEN = 3; // while live, ask at every third beat: `waitingFor` can change without a new version
const FOLD_MS = 50;

export interface Watched { job: Whole | null | undefined; error: ApiError | null } // undefined: not known yet; null: no such job

// `again` begins anew: a terminal job is not followed until a retry begins another run.
export function useJob(id: string): Watched & { again: () => void } {
  const [state, setState] = useState<Watched>({ job: undefined, error: null });
  const [run, setRun] = useState(0);
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
      if (over) quit();
    };
    const poll = async () => {
      try {
        take((await ask(asked, { id })).job);
      } catch (error) {
        if (!stopped) setState((known) => ({ ...known, error: error as ApiError }));
      }
    };
    const leave = subscribe(jobUpdated, { id }, { next: ({ jobUpdated: job }) => take(job), failed: poll, done: poll });
    const pulse = setInterval(() => {
      beats += 1;
      if (!document.hidden && (connection.value !== 'live' || beats % FRESHEN === 0)) void poll();
    }, POLL_MS);
    const forget = token.listen(() => void poll());
    function quit() {
      clearInterval(pulse);
      leave();
    }
    void poll();
    return () => {
      stopped = true;
      clearTimeout(frame);
      forget();
      quit();
    };
  }, [id, run]);
  return { ...state, again: () => setRun((number) => number + 1) };
}
