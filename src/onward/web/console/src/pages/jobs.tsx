// The jobs, newest first, as the filter in the address wants them; and one job at #/jobs/ID.
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { ConfirmBulk } from '../components/ConfirmBulk';
import { Counts } from '../components/Counts';
import { EmptyState } from '../components/EmptyState';
import { Table, type Column } from '../components/Table';
import { StatusMark } from '../components/StatusMark';
import { Time } from '../components/Time';
import { count, plural } from '../format';
import { announce, notice } from '../notices';
import { go, href, toJob, useRoute } from '../route';
import { RETRYABLE, STATUSES, TERMINAL, type Status } from '../status';
import { useViewer } from '../viewer';
import { JobPage } from './job';
import { asInput, crossed, readFilter, readPlace, toJobs, unreadable, type Filter, type Place } from './jobs/filter';
import { FilterForm } from './jobs/form';
import { MANY, useList, type Item } from './jobs/list';
import { note, took } from './jobs/note';

const OPEN = STATUSES.filter((status) => !TERMINAL.has(status));
const SHOWN = 8; // characters of an id that stay where it is narrow: its end, since ids of one day begin alike

let back = '#/jobs'; // the list that a job was opened from
let left = ''; // the job that was opened last

export function Jobs() {
  const { path: [, id], search } = useRoute();
  const query = search.toString();
  useEffect(() => {
    if (id) left = id;
    else back = `#/jobs${query && `?${query}`}`;
  }, [id, query]);
  return id ? <JobPage key={id} id={id} back={back} /> : <JobList search={query} />;
}

function JobList({ search }: { search: string }) {
  const wrong = unreadable(new URLSearchParams(search));
  return wrong.length ? (
    <div class="stack">
      <h1>Jobs</h1>
      <section class="card">
        <EmptyState title={`This address holds no filter: ${wrong.join(', ')}`}><a href="#/jobs">Show all jobs</a>, and choose a filter there.</EmptyState>
      </section>
    </div>
  ) : <Matching search={search} />;
}

function Matching({ search }: { search: string }) {
  const filter = useMemo(() => readFilter(new URLSearchParams(search)), [search]);
  const place = useMemo(() => readPlace(new URLSearchParams(search)), [search]);
  const problem = crossed(filter);
  const toggled = (status: Status) => toJobs({
    ...filter, status: filter.status.includes(status) ? filter.status.filter((one) => one !== status) : [...filter.status, status],
  });
  return (
    <div class="stack">
      <h1>Jobs</h1>
      <Counts address={toggled} chosen={filter.status} />
      <section class="card" aria-label="List of jobs">
        <FilterForm filter={filter} />
        {problem ? <p role="alert" class="error">{problem}</p> : <Rows filter={filter} place={place} />}
      </section>
    </div>
  );
}

function Rows({ filter, place }: { filter: Filter; place: Place }) {
  const admin = useViewer()?.admin ?? false;
  const frame = useRef<HTMLDivElement>(null);
  const held = () => frame.current?.querySelector('tbody')?.matches(':hover, :focus-within') ?? false;
  const { list, listed: { rows, fresh, newest, info, error } } = useList(filter, place, held);
  const turned = useRef(false);
  useEffect(() => { notice('list', error?.message); return () => notice('list', null); }, [error]);
  useEffect(() => { // back from a job: where one was
    if (!rows) return;
    if (turned.current) announce(`${plural(rows.length, 'job')} shown`);
    turned.current = false;
    if (!left) return;
    frame.current?.querySelector<HTMLElement>(`a[title="${CSS.escape(left)}"]`)?.focus();
    left = '';
  }, [rows]);
  const turn = (to: Place) => { turned.current = true; go(toJobs(filter, to)); };
  const newestPage = () => (place.older || place.newer ? turn({}) : list?.newestPage());
  return (
    <>
      <Bulk filter={filter} done={() => list?.refresh()} />
      {fresh ? (
        <button type="button" class="more" onClick={newestPage}>
          {`${fresh >= MANY ? `More than ${count(MANY)} newer jobs` : plural(fresh, 'newer job')} · show`}
        </button>
      ) : null}
      <div class="frame" ref={frame}>
        {rows?.length ? (
          <Table
            label="Jobs" kind="jobs" columns={admin && rows.some(({ owner }) => owner) ? COLUMNS : WITHOUT_OWNER} rows={rows} rowKey={({ id }) => id}
            rowProps={(job) => ({ 'data-job': job.id, 'data-left': list && !list.matches(job) ? '' : undefined })}
          />
        ) : null}
      </div>
      {rows?.length === 0 ? <Nothing filtered={asInput(filter) !== null} more={info?.hasNextPage ?? false} /> : null}
      {info && !(newest && !info.hasNextPage) ? (
        <nav class="pager" aria-label="Pages of jobs">
          <button type="button" class="quiet" disabled={newest} onClick={newestPage}>Newest</button>
          <button type="button" class="quiet" disabled={!info.hasPreviousPage} onClick={() => turn({ newer: info.startCursor! })}>Newer</button>
          <button type="button" class="quiet" disabled={!info.hasNextPage} onClick={() => turn({ older: info.endCursor! })}>Older</button>
        </nav>
      ) : null}
    </>
  );
}

// Without a state chosen, it is the failed ones that are meant. All jobs at once are cancelled by nobody.
function Bulk({ filter, done }: { filter: Filter; done: () => void }) {
  const some = (able: readonly Status[]) => !filter.status.length || filter.status.some((status) => able.includes(status));
  const retried = { ...asInput(filter), status: filter.status.length ? [...filter.status] : ['FAILED' as const] };
  const cancelled = asInput(filter);
  return (
    <div class="actions bulk">
      {some(RETRYABLE) ? <ConfirmBulk kind="retry" filter={retried} label="Retry all that match…" what="that match the filter" done={done} /> : null}
      {cancelled && some(OPEN) ? <ConfirmBulk kind="cancel" filter={cancelled} label="Cancel all that match…" what="that match the filter" done={done} /> : null}
    </div>
  );
}

// By parameters the server looks at so many jobs for a page: behind it there may be others that match.
function Nothing({ filtered, more }: { filtered: boolean; more: boolean }) {
  if (more) return <EmptyState title="None of the jobs looked at so far matches.">Go on with Older, or narrow the filter by handler and time.</EmptyState>;
  return filtered
    ? <EmptyState title="No job matches this filter.">Jobs that come to match appear here by themselves.</EmptyState>
    : <EmptyState title="No jobs yet.">A job appears here as soon as it is accepted, and is followed until it is done.</EmptyState>;
}

const COLUMNS: readonly Column<Item>[] = [
  { name: 'status', head: 'Status', width: 8, cell: (job) => <StatusMark status={job.status} /> },
  { name: 'handler', head: 'Handler', width: 12, cell: (job) => job.handler },
  { name: 'note', head: 'Note', cell: (job) => <Note job={job} /> },
  {
    name: 'job', head: 'Job', width: 9, cell: ({ id }) => (
      <a href={toJob(id)} class="mono" title={id}><span>{id.slice(0, -SHOWN)}</span><span>{id.slice(-SHOWN)}</span></a>
    ),
  },
  { name: 'owner', head: 'Owner', width: 8, away: true, cell: ({ owner }) => owner && <a href={href('jobs', { owner })}>{owner}</a> },
  { name: 'backend', head: 'Backend', width: 7, away: true, cell: (job) => job.backend },
  { name: 'created', head: 'Accepted', width: 9, cell: (job) => <Time at={job.createdAt} /> },
  { name: 'took', head: 'Took', width: 6, cell: took },
];
const WITHOUT_OWNER = COLUMNS.filter(({ name }) => name !== 'owner'); // where no job has one, and for viewers, who see their own jobs alone

function Note({ job }: { job: Item }) {
  const words = note(job, job.waitingFor);
  return words ? <span class="note" title={words} data-error={job.error && job.status === 'FAILED' ? '' : undefined}>{words}</span> : null;
}
