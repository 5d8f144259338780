// Questions and changes inside components. A hidden tab asks nothing; it asks once when it is shown again.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, ask, subscribe, type Operation } from './graphql';
import { token } from './token';

const SLOW_MS = 300;

export interface Asked<Data> {
  data: Data | null; // of the last answer, also while another one is asked for
  error: ApiError | null;
  slow: boolean; // no answer yet after 300 ms
  refresh: () => void;
}

// Asks at once, again when the variables change, and every so many milliseconds if `every` is given. Null variables: not at all.
export function useQuery<Data, Variables>(operation: Operation<Data, Variables>, variables: Variables | null, every = 0): Asked<Data> {
  const [state, setState] = useState<{ data: Data | null; error: ApiError | null; slow: boolean }>({ data: null, error: null, slow: false });
  const refresh = useRef(() => {});
  const key = JSON.stringify(variables);
  useEffect(() => {
    if (variables === null) return undefined;
    let stopped = false;
    let asking = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const slow = setTimeout(() => setState((known) => ({ ...known, slow: known.data === null && known.error === null })), SLOW_MS);
    const look = async () => {
      clearTimeout(timer);
      const now = ++asking;
      const answer = await ask(operation, variables).then((data) => ({ data, error: null }), (error: ApiError) => ({ error }));
      if (stopped || now !== asking) return;
      clearTimeout(slow);
      setState((known) => ({ ...known, ...answer, slow: false }));
      if (every) timer = setTimeout(shown, every);
    };
    const shown = () => { if (!document.hidden) void look(); };
    refresh.current = () => void look();
    document.addEventListener('visibilitychange', shown);
    const forget = token.listen(() => void look());
    void look();
    return () => {
      stopped = true;
      clearTimeout(slow);
      clearTimeout(timer);
      forget();
      document.removeEventListener('visibilitychange', shown);
    };
  }, [operation, key, every]);
  return { ...state, refresh: () => refresh.current() };
}

// Calls `next` with each message, from the first render to the last. Null variables: no subscription.
export function useSubscription<Data, Variables>(
  operation: Operation<Data, Variables>, variables: Variables | null,
  watcher: { next: (data: Data) => void; failed?: (words: string) => void; done?: () => void },
): void {
  const latest = useRef(watcher);
  latest.current = watcher;
  const key = JSON.stringify(variables);
  useEffect(() => (variables === null ? undefined : subscribe(operation, variables, {
    next: (data) => latest.current.next(data),
    failed: (words) => latest.current.failed?.(words),
    done: () => latest.current.done?.(),
  })), [operation, key]);
}
