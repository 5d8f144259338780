// Jobs that belong together: the newest batches, and one of them live, with its children and what follows.
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Answer } from '../components/Answer';
import { ConfirmBulk } from '../components/ConfirmBulk';
import { question, reasonOf, ReasonField } from '../components/Dialog';
import { EmptyState } from '../components/EmptyState';
import { ForAdmins } from '../components/ForAdmins';
import { Progress } from '../components/Progress';
import { StatusMark } from '../components/StatusMark';
import { Table } from '../components/Table';
import { Duration, Time } from '../components/Time';
import { between, count, plural } from '../format';
import { batchChildren, batchUpdated, batches, cancelBatch, oneBatch, retryBatch, type Batch, type Child } from '../generated/batches';
import { ask, connection, type ApiError, type UserError } from '../graphql';
import { useQuery, useSubscription } from '../hooks';
import { announce, notice } from '../notices';
import { href, toJob, useRoute } from '../route';
import { STATUSES, TERMINAL, word, type Status } from '../status';
import { useStore } from '../store';

const LOOK_MS = 5_000;
const LOOK_LIVE_MS = 2_000; // at the children of a batch that goes on, unless it is
const AGAIN_MS = 3_000; // before a subscription that has ended begins again
const LONG = 10_000;
const PAGE = 20;
const CAUSE = 'batch';

export function Batches() {
  const { path, search } = useRoute();
  const id = path[1];
  useEffect(() => () => notice(CAUSE, null), [id]);
  return <div class="stack">{id ? <One key={id} id={id} status={search.getAll('status') as Status[]} /> : <List after={search.get('after')} />}</div>;
}

const toBatch = (id: string): string => href(`batches/${encodeURIComponent(id)}`);
const numbers = ({ counts }: Batch) => new Map(counts.map(({ status, count: n }) => [status, n]));
const over = (batch: Batch): number => batch.counts.reduce((sum, { status, count: n }) => sum + (TERMINAL.has(status) ? n : 0), 0);

function List({ after }: { after: string | null }) {
  const asked = useQuery(batches, { first: PAGE + 1, after }, LOOK_MS);
  return (
    <>
      <h1>Batches</h1>
      <ForAdmins what="All batches">
        <section class="card" aria-label="Newest batches">
          <Answer of={asked}>
            {({ batches: found }) => (found.length ? <Found found={found} after={after} />
              : <EmptyState title={after ? 'No older batch is kept.' : 'No batch yet.'}>A handler that dispatches a batch, or code that enqueues one, makes jobs that belong together.</EmptyState>)}
          </Answer>
        </section>
      </ForAdmins>
    </>
  );
}

function Found({ found, after }: { found: readonly Batch[]; after: string | null }) {
  const rows = found.slice(0, PAGE);
  return (
    <>
      <Table
        label="Batches, newest first" rows={rows} rowKey={({ id }) => id}
        columns={[
          { name: 'batch', head: 'Batch', cell: ({ id, job }) => <div><a class="mono" href={toBatch(id)}>{id}</a>{job ? <p class="note">{`made by ${job.handler}`}</p> : null}</div> },
          { name: 'state', head: 'State', width: 16, cell: (batch) => <div>{state(batch)}{batch.reason ? <p class="note">{batch.reason}</p> : null}{batch.done ? null : <Progress completed={over(batch)} total={batch.total} label="Children that are over" />}</div> },
          { name: 'failed', head: 'Failed', width: 6, numeric: true, cell: (batch) => count(numbers(batch).get('FAILED') ?? 0) },
          { name: 'made', head: 'Made', width: 8, cell: ({ createdAt }) => <Time at={createdAt} relative /> },
          { name: 'took', head: 'Took', width: 8, away: true, cell: ({ createdAt, finishedAt }) => (finishedAt ? <Duration ms={between(createdAt, finishedAt)} /> : null) },
        ]}
      />
      <nav class="pager" aria-label="Pages of batches">
        {after ? <a href={href('batches')}>Newest</a> : null}
        {found.length > PAGE ? <a href={href('batches', { after: rows.at(-1)!.id })}>Older</a> : null}
      </nav>
    </>
  );
}

const BEGINS: Partial<Record<Batch['state'], string>> = {
  STOPPING: 'Stopping after a failure: ', CANCELLING: 'Being cancelled: ', RETRYING: 'Being retried: ', STOPPED: 'Stopped by a failure: ', CANCELLED: 'Cancelled: ',
};

function state(batch: Batch): string {
  const begin = BEGINS[batch.state] ?? '';
  if (!batch.done) return `${begin}${count(over(batch))} of ${count(batch.total)} over`;
  return `${begin}${begin ? 'all' : 'All'} ${count(batch.total)} over`;
}

function One({ id, status }: { id: string; status: readonly Status[] }) {
  const live = useStore(connection) === 'live';
  const [changed, setChanged] = useState<Batch | null>(null);
  const asked = useQuery(oneBatch, { id }, LOOK_MS);
  const first = asked.data?.node && 'total' in asked.data.node ? asked.data.node as Batch : null;
  const [resting, setResting] = useState(false);
  useEffect(() => {
    const timer = resting ? setTimeout(() => setResting(false), AGAIN_MS) : undefined;
    return () => clearTimeout(timer);
  }, [resting]);
  const ended = () => { // the last change is old from now on, unless the batch is over
    setChanged((known) => (known?.done ? known : null));
    setResting(true);
    asked.refresh();
  };
  useSubscription(batchUpdated, first && !first.done && !resting ? { id } : null, { next: ({ batchUpdated: batch }) => setChanged(batch), failed: ended, done: ended });
  const batch = live && changed && !first?.done ? changed : first;
  return (
    <Answer of={asked}>
      {() => (batch
        ? <Shown batch={batch} status={status} refresh={() => { setChanged(null); asked.refresh(); }} />
        : <EmptyState title="There is no such batch, or none that you may see."><a href={href('batches')}>Batches</a></EmptyState>)}
    </Answer>
  );
}

function Shown({ batch, status, refresh }: { batch: Batch; status: readonly Status[]; refresh: () => void }) {
  const { id, job, then, done, total, canRetryBatch, reason, createdAt, finishedAt } = batch;
  const found = numbers(batch);
  const failed = (found.get('FAILED') ?? 0) + (found.get('CANCELLED') ?? 0);
  const retry = () => act({
    title: 'Retry the batch?', yes: 'Retry it', said: 'The batch is retried',
    text: failed
      ? `What has failed or was cancelled in it runs again, ${plural(failed, 'child', 'children')}, and then what follows.`
      : 'No child of it is failed or cancelled any more: it goes on to what follows.',
  }, async () => (await ask(retryBatch, { input: { id } })).retryBatch, refresh);
  const cancel = () => act({
    title: 'Cancel the batch?', yes: 'Cancel the batch', said: 'The batch is cancelled',
    text: 'Children that wait are cancelled, running ones are stopped, and nothing follows.', fields: <ReasonField />,
  }, async (answer) => (await ask(cancelBatch, { input: { id, reason: reasonOf(answer) } })).cancelBatch, refresh);
  return (
    <>
      <div class="bar">
        <h1 tabIndex={-1}>Batch <span class="mono small">{id}</span></h1>
        <div class="actions">
          {done && failed ? <ConfirmBulk kind="retry" filter={{ batch: id }} label="Retry failed children…" what="of this batch" done={refresh} /> : null}
          {done && (failed || canRetryBatch) ? <button type="button" onClick={retry}>Retry the batch…</button> : null}
          {done ? null : <button type="button" onClick={cancel}>Cancel…</button>}
        </div>
      </div>
      <section class="card" aria-labelledby="progress">
        <div class="bar"><h2 id="progress">{state(batch)}</h2>
          <p class="faint small">made <Time at={createdAt} relative />{finishedAt ? <>, took <Duration ms={between(createdAt, finishedAt)} /></> : null}</p>
        </div>
        <Progress completed={over(batch)} total={total} label="Children that are over" />
        <dl class="facts">
          <dt>Made by</dt><dd>{job ? <a href={toJob(job.id)}>{job.handler}</a> : 'code that enqueued it'}</dd>
          {reason ? <><dt>Reason for cancelling</dt><dd>{reason}</dd></> : null}
          <dt>Then</dt><dd>{then ? <><a href={toJob(then.id)}>{then.handler}</a> <StatusMark status={then.status} /></> : done ? 'nothing has followed' : 'not yet'}</dd>
        </dl>
      </section>
      <section class="card" aria-labelledby="children">
        <div class="bar">
          <h2 id="children">Children</h2>
          <nav class="choice" aria-label="Status">
            <a href={toBatch(id)} aria-current={status.length ? undefined : 'true'}>All</a>
            {STATUSES.filter((one) => found.get(one) || status.includes(one)).map((one) => (
              <a key={one} href={href(`batches/${encodeURIComponent(id)}`, { status: [one] })} aria-current={status.includes(one) ? 'true' : undefined}>{`${word(one)} ${count(found.get(one) ?? 0)}`}</a>
            ))}
          </nav>
        </div>
        <Children key={status.join()} batch={id} status={status} every={done || total > LONG ? LOOK_MS : LOOK_LIVE_MS} />
      </section>
    </>
  );
}

function Children({ batch, status, every }: { batch: string; status: readonly Status[]; every: number }) {
  const [after, setAfter] = useState<string | null>(null);
  const asked = useQuery(batchChildren, { batch, status: status.length ? [...status] : null, first: PAGE, after }, every);
  return (
    <Answer of={asked}>
      {({ jobs: { nodes, pageInfo } }) => (
        <>
          {nodes.length ? <Rows rows={nodes} /> : <EmptyState title="No such job in this batch." />}
          <div class="pager">
            {after ? <button type="button" onClick={() => setAfter(null)}>Newest</button> : null}
            {pageInfo.hasNextPage ? <button type="button" onClick={() => setAfter(pageInfo.endCursor)}>Older</button> : null}
          </div>
        </>
      )}
    </Answer>
  );
}

function Rows({ rows }: { rows: readonly Child[] }) {
  return (
    <Table
      label="Children, newest first" rows={rows} rowKey={({ id }) => id} rowProps={({ id }) => ({ 'data-job': id })}
      columns={[
        { name: 'status', head: 'Status', width: 9, cell: ({ status }) => <StatusMark status={status} /> },
        { name: 'handler', head: 'Job', cell: (job) => <div><a href={toJob(job.id)}>{job.handler}</a><Why job={job} /></div> },
        { name: 'took', head: 'Took', width: 7, cell: ({ startedAt, finishedAt }) => (startedAt && finishedAt ? <Duration ms={between(startedAt, finishedAt)} /> : null) },
      ]}
    />
  );
}

function Why({ job: { status, error, reason } }: { job: Child }) {
  if (status === 'CANCELLED' && reason) return <p class="note">{reason}</p>;
  return error ? <p class="note" data-error="">{`${error.code}: ${error.message}`}</p> : null;
}

// Asks first; then sends the command, and says what the server says.
async function act(
  words: { title: string; text: string; fields?: ComponentChildren; yes: string; said: string },
  send: (answer: FormData) => Promise<{ errors: readonly UserError[] } | null>, done: () => void,
): Promise<void> {
  const answer = await question(words);
  if (!answer) return;
  try {
    const errors = (await send(answer))?.errors ?? [];
    notice(CAUSE, errors.map(({ message }) => message).join(' '));
    if (!errors.length) announce(words.said);
  } catch (error) {
    notice(CAUSE, (error as ApiError).message);
  }
  done();
}
