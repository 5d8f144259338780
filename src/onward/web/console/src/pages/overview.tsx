// What happened in the last hour, day or week: how much, how slow, what failed, what waits.
import { Answer } from '../components/Answer';
import { EmptyState } from '../components/EmptyState';
import { ForAdmins } from '../components/ForAdmins';
import { RangeChoice } from '../components/RangeChoice';
import { Table } from '../components/Table';
import { Chart } from '../components/Chart';
import { compact, count, plural, seconds } from '../format';
import { overview, type Figures, type Overview as Told } from '../generated/overview';
import { useQuery } from '../hooks';
import { steps, useRange, type Range } from '../range';

const LOOK_MS = 10_000;

export function Overview() {
  return (
    <div class="stack">
      <div class="bar"><h1>Overview</h1><RangeChoice /></div>
      <ForAdmins what="Figures of all jobs"><Course /></ForAdmins>
    </div>
  );
}

function Course() {
  const range = useRange();
  const asked = useQuery(overview, { from: range.from, to: range.to, step: range.step }, LOOK_MS);
  return <Answer of={asked}>{(told) => <Shown told={told} range={range} />}</Answer>;
}

function Shown({ told, range }: { told: Told; range: Range }) {
  const total = (kind: 'enqueued' | 'succeeded' | 'failed' | 'retried') => told.total.reduce((sum, row) => sum + row[kind], 0);
  const at = steps(range);
  const place = new Map(at.map((time, index) => [time, index]));
  const course = (kind: 'enqueued' | 'succeeded' | 'failed') => {
    const values = at.map(() => 0);
    for (const row of told.course) {
      const index = place.get(Date.parse(row.from));
      if (index !== undefined) values[index]! += row[kind];
    }
    return values;
  };
  return (
    <>
      <section class="card" aria-labelledby="throughput">
        <h2 id="throughput">{`Jobs per ${range.step.toLowerCase()}`}</h2>
        <Chart
          label={`Last ${range.name}: ${plural(total('enqueued'), 'job')} accepted, ${count(total('succeeded'))} succeeded, ${count(total('failed'))} failed.`}
          at={at.map((time) => time / 1_000)} format={compact} stepped
          series={[
            { name: 'accepted', tone: 'soft', filled: true, values: course('enqueued'), shown: count(total('enqueued')) },
            { name: 'succeeded', tone: 'accent', values: course('succeeded'), shown: count(total('succeeded')) },
            { name: 'failed', tone: 'bad', values: course('failed'), shown: count(total('failed')) },
          ]}
        />
      </section>
      <section class="card" aria-labelledby="by-handler">
        <h2 id="by-handler">Handlers</h2>
        {told.total.length ? <ByHandler rows={told.total} /> : <EmptyState title={`No job in the last ${range.name}.`} />}
      </section>
    </>
  );
}

function ByHandler({ rows }: { rows: readonly Figures[] }) {
  return (
    <Table
      label="Figures by handler" rows={rows} rowKey={({ handler }) => handler}
      columns={[
        { name: 'handler', head: 'Handler', cell: ({ handler }) => handler },
        { name: 'enqueued', head: 'Accepted', width: 7, numeric: true, cell: ({ enqueued }) => count(enqueued) },
        { name: 'failed', head: 'Failed', width: 7, numeric: true, cell: ({ failed }) => count(failed) },
        { name: 'wait50', head: 'Wait p50', width: 7, numeric: true, away: true, cell: ({ wait }) => seconds(wait.p50) },
        { name: 'wait95', head: 'Wait p95', width: 7, numeric: true, cell: ({ wait }) => seconds(wait.p95) },
        { name: 'run50', head: 'Run p50', width: 7, numeric: true, away: true, cell: ({ run }) => seconds(run.p50) },
        { name: 'run95', head: 'Run p95', width: 7, numeric: true, cell: ({ run }) => seconds(run.p95) },
      ]}
    />
  );
}
