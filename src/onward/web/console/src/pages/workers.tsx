// The processes: running jobs, memory, release, and a button that drains a worker.
import { ActionButton } from '../components/ActionButton';
import { Answer } from '../components/Answer';
import { question } from '../components/Dialog';
import { EmptyState } from '../components/EmptyState';
import { ForAdmins } from '../components/ForAdmins';
import { Table, type Column } from '../components/Table';
import { Duration, Time } from '../components/Time';
import { bytes, count, plural } from '../format';
import { drainWorker, workers, type Workers as Told } from '../generated/workers';
import { ask, serverNow } from '../graphql';
import { useQuery } from '../hooks';
import { announce } from '../notices';
import { toJob } from '../route';
import { ROLES } from '../workers';

const LOOK_MS = 2_000;

type Row = Told['workers'][number];

export function Workers() {
  return (
    <div class="stack">
      <div class="bar"><h1>Workers</h1></div>
      <ForAdmins what="Processes"><List /></ForAdmins>
    </div>
  );
}

function List() {
  const asked = useQuery(workers, {}, LOOK_MS);
  return <Answer of={asked}>{(told) => <Shown told={told} refresh={asked.refresh} />}</Answer>;
}

function Shown({ told, refresh }: { told: Told; refresh: () => void }) {
  const rows = told.workers;
  const running = rows.reduce((sum, row) => sum + row.running, 0);
  const columns: Column<Row>[] = [
    { name: 'name', head: 'Process', width: 14, cell: (row) => <Name row={row} release={told.system.version} /> },
    { name: 'started', head: 'Started', width: 8, away: true, cell: ({ startedAt }) => <Time at={startedAt} relative /> },
    { name: 'queues', head: 'Queues', width: 8, cell: ({ queues }) => <Queues queues={queues} /> },
    { name: 'memory', head: 'Memory', width: 6, numeric: true, cell: ({ memoryBytes }) => (memoryBytes === null ? '' : bytes(memoryBytes)) },
    { name: 'running', head: 'Runs', cell: (row) => <Running row={row} /> },
    { name: 'act', head: 'Change', width: 9, cell: (row) => <Drain row={row} refresh={refresh} /> },
  ];
  return (
    <section class="card" aria-labelledby="processes">
      <div class="bar"><h2 id="processes">{`${plural(rows.length, 'process', 'processes')}, ${plural(running, 'running job')}`}</h2></div>
      {rows.length ? <Table label="Processes" rows={rows} rowKey={({ id }) => id} rowProps={({ id }) => ({ 'data-worker': id })} columns={columns} /> : <EmptyState title="No process runs." />}
      <p class="note small">A process is in this list until seven seconds after its last sign of life.</p>
    </section>
  );
}

function Name({ row: { id, name, role, version, draining }, release }: { row: Row; release: string }) {
  return (
    <div>
      <span class="mono" title={id}>{name}</span>
      {draining ? <span class="tag warn">draining</span> : null}
      <div class="small faint">{ROLES[role] ?? role}</div>
      <div class={version === release ? 'small faint' : 'small warn'}>{version ? `release ${version}` : 'an older release'}</div>
    </div>
  );
}

function Queues({ queues }: { queues: Row['queues'] }) {
  if (queues === null) return <span class="faint">unknown</span>;
  return queues.length ? <>{queues.join(', ')}</> : <span class="faint">none</span>;
}

function Running({ row: { running, jobs } }: { row: Row }) {
  if (!running) return <span class="faint">nothing</span>;
  if (!jobs.length) return <span class="faint">{plural(running, 'job')}</span>;
  const more = running - jobs.length;
  return (
    <ul class="runs">
      {jobs.map(({ id, handler, attempts }) => (
        <li key={id}><a href={toJob(id)}>{handler}</a>{attempts.length ? <span class="faint"> for <Duration ms={serverNow() - Date.parse(attempts.at(-1)!.startedAt)} /></span> : null}</li>
      ))}
      {more > 0 ? <li class="faint">{`${count(more)} more`}</li> : null}
    </ul>
  );
}

function Drain({ row: { id, name, role, draining }, refresh }: { row: Row; refresh: () => void }) {
  if (draining) return <span class="small faint">ends when its jobs are over</span>;
  if (role !== 'worker') return <span class="small faint">drains when it is stopped</span>;
  const drain = async () => {
    const text = 'It begins no further job, finishes what it runs or hands it back, and ends. Its supervisor starts a new process.';
    if (!await question({ title: `Drain ${name}?`, text, yes: 'Drain' })) return [];
    const errors = (await ask(drainWorker, { id })).drainWorker?.errors ?? [];
    if (!errors.length) announce(`${name} drains`);
    refresh();
    return errors;
  };
  return <ActionButton label={`Drain ${name}`} act={drain}>Drain</ActionButton>;
}
