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

interface Known<Data> { of: string; data: Data | null; error: ApiError | null; slow: boolean }

// Asks at once, again when the variables change, and every so many milliseconds if `every` is given. Null variables: not at all.
// `of` names what the data is of: that of another one is shown for 300 ms at most while there is no answer, and not beside an error.
export function useQuery<Data, Variables>(operation: Operation<Data, Variables>, variables: Variables | null, every = 0, of = ''): Asked<Data> {
  const nothing: Known<Data> = { of, data: null, error: null, slow: false };
  const [state, setState] = useState(nothing);
  const refresh = useRef(() => {});
  const key = JSON.stringify(variables);
  useEffect(() => {
    if (variables === null) return undefined;
    let stopped = false;
    let asking = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const change = (by: (known: Known<Data>) => Known<Data>) => setState((known) => by(known.of === of ? known : nothing));
    const slow = setTimeout(() => change((known) => ({ ...known, slow: known.data === null && known.error === null })), SLOW_MS);
    const look = async () => {
      clearTimeout(timer);
      const now = ++asking;
      const answer = await ask(operation, variables).then((data) => ({ data, error: null }), (error: ApiError) => ({ error }));
      if (stopped || now !== asking) return;
      clearTimeout(slow);
      change((known) => ({ ...known, ...answer, slow: false }));
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
  }, [operation, key, every, of]);
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
