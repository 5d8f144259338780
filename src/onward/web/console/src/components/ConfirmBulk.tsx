// A button that retries or cancels all jobs of a filter: it counts them first, and shows how far it is.
import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { inPieces, narrowed, type Filter, type Kind, type Outcome } from '../bulk';
import { count, plural } from '../format';
import { cancelMany, countJobs, retryMany } from '../generated/bulk';
import { ApiError, ask, serverNow } from '../graphql';
import { announce } from '../notices';
import { Progress } from './Progress';

interface Properties {
  kind: Kind;
  filter: Filter;
  label: string; // of the button
  what: string; // the jobs in words, as in "that failed with the code 503"
  done?: () => void; // some jobs have changed
}

const MOST = 100_000;
const WORDS = {
  retry: { verb: 'Retry', past: 'retried', none: 'None of these jobs is failed or cancelled now.' },
  cancel: { verb: 'Cancel', past: 'cancelled', none: 'None of these jobs waits or runs now.' },
} as const;

export function ConfirmBulk(properties: Properties) {
  return <button type="button" aria-haspopup="dialog" onClick={() => show(properties)}>{properties.label}</button>;
}

// Outside of the page's tree: the dialog stays where the button goes, as with the last job of a group.
function show(properties: Properties): void {
  const place = document.createElement('div');
  document.body.append(place);
  render(<BulkDialog {...properties} close={() => { render(null, place); place.remove(); }} />, place);
}

function BulkDialog({ kind, filter, what, done, close }: Properties & { close: () => void }) {
  const { verb, past, none } = WORDS[kind];
  const dialog = useRef<HTMLDialogElement>(null);
  const stop = useRef(false);
  const [wanted] = useState(() => narrowed(kind, filter, serverNow()));
  const [counted, setCounted] = useState<number | null>(null);
  const [changed, setChanged] = useState<number | null>(null); // while it goes on
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [problem, setProblem] = useState('');

  useEffect(() => {
    dialog.current!.showModal();
    const countThem = wanted.status?.length ? ask(countJobs, { filter: wanted, limit: MOST }) : Promise.resolve({ jobCount: 0 });
    countThem.then(({ jobCount }) => setCounted(jobCount), (error: ApiError) => setProblem(error.message));
    return () => { stop.current = true; };
  }, []);

  const run = async () => {
    setChanged(0);
    const send = async (limit: number, after: string | null) => (
      kind === 'retry'
        ? (await ask(retryMany, { input: { filter: wanted, limit, after } })).retryJobs
        : (await ask(cancelMany, { input: { filter: wanted, limit, after } })).cancelJobs
    ) ?? { count: 0, endCursor: null, errors: [] };
    let soFar = 0;
    const ended = await inPieces(counted!, send, (now) => setChanged(soFar = now), () => stop.current)
      .catch((error: ApiError): Outcome => ({ done: soFar, left: counted! - soFar, error: error.message }));
    setOutcome(ended);
    announce(`${plural(ended.done, 'job')} ${past}`);
    done?.();
  };

  const running = changed !== null && !outcome;
  return (
    <dialog ref={dialog} aria-labelledby="bulk-title" onClose={close} onCancel={() => { stop.current = true; }}>
      <h2 id="bulk-title">{`${verb} jobs ${what}`}</h2>
      {problem ? <p role="alert" class="error">{problem}</p>
        : outcome ? <Ended outcome={outcome} past={past} />
          : running ? <Going changed={changed} counted={counted!} past={past} />
            : counted === null ? <p role="status">Counting…</p>
              : counted === 0 ? <p role="status">{none}</p>
                : <p role="status">{counted < MOST ? `${plural(counted, 'job')} will be ${past}.` : `There are ${count(MOST)} or more; the oldest ${count(MOST)} will be ${past}.`}</p>}
      <div class="actions">
        {counted && !running && !outcome ? <button type="button" class="main" onClick={run}>{`${verb} ${plural(counted, 'job')}`}</button> : null}
        {running
          ? <button type="button" onClick={() => { stop.current = true; }}>Stop here</button>
          : <button type="button" class="quiet" onClick={() => dialog.current!.close()}>{outcome || counted === 0 ? 'Close' : 'Leave it'}</button>}
      </div>
    </dialog>
  );
}

function Going({ changed, counted, past }: { changed: number; counted: number; past: string }) {
  return (
    <>
      <p>{`${count(changed)} of ${count(counted)} ${past}`}</p>
      <Progress completed={changed} total={counted} label={`Jobs ${past}`} />
    </>
  );
}

function Ended({ outcome: { done, left, error }, past }: { outcome: Outcome; past: string }) {
  return (
    <>
      <p role="status">{`${plural(done, 'job')} ${past}.`}</p>
      {error ? <p role="alert" class="error">{error}</p> : null}
      {!error && left > 0 ? <p>{`${plural(left, 'job')} stayed as they were: you stopped, or they have changed meanwhile, or cannot be ${past}.`}</p> : null}
    </>
  );
}
