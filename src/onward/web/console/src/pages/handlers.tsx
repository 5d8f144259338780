// The handlers: figures of the range, waiting jobs, limits, and a button that pauses.
import { ActionButton } from '../components/ActionButton';
import { Answer } from '../components/Answer';
import { EmptyState } from '../components/EmptyState';
import { ForAdmins } from '../components/ForAdmins';
import { RangeChoice } from '../components/RangeChoice';
import { Table, type Column } from '../components/Table';
import { Time } from '../components/Time';
import { count, plural, seconds } from '../format';
import { handlers, pauseHandler, resumeHandler, type Handlers as Told } from '../generated/handlers';
import { ask } from '../graphql';
import { change, isSlower, limitText, rowsOf, sorted, SORTS, type Row, type Sort } from '../handlers';
import { useQuery } from '../hooks';
import { announce } from '../notices';
import { useRange, withSearch, type Range } from '../range';
import { href, useRoute } from '../route';

const LOOK_MS = 5_000;

export function Handlers() {
  return (
    <div class="stack">
      <div class="bar"><h1>Handlers</h1><RangeChoice /></div>
      <ForAdmins what="Handlers"><List /></ForAdmins>
    </div>
  );
}

function List() {
  const { name, from, to, before } = useRange();
  const asked = useQuery(handlers, { from, to, before }, LOOK_MS, name);
  return <Answer of={asked}>{(told) => <Shown told={told} refresh={asked.refresh} />}</Answer>;
}

function Shown({ told, refresh }: { told: Told; refresh: () => void }) {
  const { path, search } = useRoute();
  const range = useRange();
  const asked = search.get('sort') as Sort | null;
  const sort = asked && asked in SORTS ? asked : 'name';
  const rows = sorted(rowsOf(told), sort);
  const paused = told.system.paused.length;
  return (
    <section class="card" aria-labelledby="handlers">
      <div class="bar">
        <h2 id="handlers">{`${plural(rows.length, 'handler')}${paused ? `, ${count(paused)} paused` : ''}`}</h2>
        <nav class="choice orders" aria-label="Order">
          <span class="faint">Sort by</span>
          {(Object.keys(SORTS) as Sort[]).map((one) => (
            <a key={one} href={withSearch(path.join('/'), search, { sort: one })} aria-current={one === sort ? 'true' : undefined}>{SORTS[one]}</a>
          ))}
        </nav>
      </div>
      {rows.length ? <Table label="Handlers" rows={rows} rowKey={(row) => row.handler} rowProps={(row) => ({ 'data-handler': row.handler })} columns={columns(refresh, range)} /> : <EmptyState title="There is no handler." />}
    </section>
  );
}

function columns(refresh: () => void, range: Range): Column<Row>[] {
  return [
    { name: 'handler', head: 'Handler', cell: (row) => <Name row={row} /> },
    { name: 'waiting', head: 'Waiting', width: 8, numeric: true, cell: (row) => <Waiting row={row} /> },
    { name: 'enqueued', head: 'Accepted', width: 6, numeric: true, cell: ({ now }) => <Count of={now?.enqueued ?? 0} /> },
    { name: 'failed', head: 'Failed', width: 5, numeric: true, cell: (row) => <Failed row={row} from={range.from} /> },
    { name: 'wait', head: 'Wait p95', width: 6, numeric: true, cell: ({ now }) => seconds(now?.wait.p95) },
    { name: 'run', head: 'Run p95', width: 7, numeric: true, cell: (row) => <Run row={row} range={range.name} /> },
    { name: 'limits', head: 'Limits', width: 10, away: true, cell: ({ limits }) => (limits.length ? <div class="small">{limits.map((limit) => <div key={limit.key ?? ''}>{limitText(limit)}</div>)}</div> : null) },
    { name: 'act', head: 'Change', width: 7, cell: (row) => <Turn row={row} refresh={refresh} /> },
  ];
}

function Name({ row: { handler, pause, known } }: { row: Row }) {
  return (
    <div>
      <a href={href('jobs', { handler })}>{handler}</a>
      {known ? null : <span class="tag" title="Jobs of it wait until a release that has it runs, or fail when their turn comes.">not in this release</span>}
      {pause ? <div class="small warn">paused since <Time at={pause.since} />{pause.by ? ` by ${pause.by}` : ''}</div> : null}
    </div>
  );
}

function Waiting({ row: { depth, oldestAt, blocked } }: { row: Row }) {
  return (
    <div>
      <Count of={depth} />
      {oldestAt ? <div class="small faint">since <Time at={oldestAt} /></div> : null}
      {blocked ? <div class="small faint">{`${count(blocked)} held back`}</div> : null}
    </div>
  );
}

// A zero is faint.
function Count({ of }: { of: number }) {
  return <span class={of ? undefined : 'faint'}>{count(of)}</span>;
}

function Failed({ row: { handler, now }, from }: { row: Row; from: string }) {
  const failed = now?.failed ?? 0;
  return failed ? <a class="bad" href={href('jobs', { handler, status: 'FAILED', finishedAfter: from })}>{count(failed)}</a> : <Count of={0} />;
}

// The run time, and the change against the time before if it is slower.
function Run({ row, range }: { row: Row; range: string }) {
  if (!row.now?.run.p95) return null;
  return (
    <div>
      {seconds(row.now.run.p95)}
      {isSlower(row) ? <div class="small warn" title={`${seconds(row.earlier?.run.p95)} in the ${range} before`}>{`${Math.round((change(row) - 1) * 100)} % slower`}</div> : null}
    </div>
  );
}

function Turn({ row: { handler, pause }, refresh }: { row: Row; refresh: () => void }) {
  const turn = async () => {
    const { errors } = pause
      ? (await ask(resumeHandler, { handler })).resumeHandler ?? { errors: [] }
      : (await ask(pauseHandler, { handler })).pauseHandler ?? { errors: [] };
    if (!errors.length) announce(`${handler} is ${pause ? 'resumed' : 'paused'}`);
    refresh();
    return errors;
  };
  return <ActionButton label={`${pause ? 'Resume' : 'Pause'} ${handler}`} act={turn}>{pause ? 'Resume' : 'Pause'}</ActionButton>;
}
