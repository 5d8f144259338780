// Two charts of the time: how many jobs, and how long they took.
import { Chart } from '../../components/Chart';
import { compact, count, length, plural, seconds } from '../../format';
import { course, type Course as Told } from '../../generated/overview';
import { useQuery } from '../../hooks';
import { notice } from '../../notices';
import { steps, type Range } from '../../range';
import { useEffect, useMemo } from 'preact/hooks';

type Row = Told['stats'][number];

export function Course({ range, handler, of }: { range: Range; handler: string[]; of: string }) {
  const { data, error } = useQuery(course, { from: range.from, to: range.to, step: range.step, handler }, range.lookMs, of);
  useEffect(() => { notice('course', error?.message); return () => notice('course', null); }, [error]);
  const drawn = useMemo(() => {
    const at = steps(range);
    const rows = new Map(data?.stats.map((row) => [Date.parse(row.from), row]));
    const values = <Value,>(of: (row: Row) => Value, none: Value) => at.map((time) => { const row = rows.get(time); return row ? of(row) : none; });
    return { at: at.map((time) => time / 1_000), values };
  }, [data, range.from, range.step]);
  const { at, values } = drawn;
  const counts = useMemo(() => ({
    enqueued: values((row) => row.enqueued, 0), succeeded: values((row) => row.succeeded, 0), failed: values((row) => row.failed, 0),
  }), [values]);
  const times = useMemo(() => ({
    run50: values((row) => row.run.p50, null), run95: values((row) => row.run.p95, null), wait95: values((row) => row.wait.p95, null),
  }), [values]);
  const told = (words: string) => (data ? words : '–'); // what is not known is no zero
  const sum = (numbers: number[]) => numbers.reduce((all, one) => all + one, 0);
  const most = (numbers: (number | null)[]) => Math.max(0, ...numbers.map((one) => one ?? 0));
  const worst = (numbers: (number | null)[]) => (numbers.some((one) => one !== null) ? `at most ${seconds(most(numbers))}` : 'none');
  return (
    <div class="halves">
      <section class="card" aria-labelledby="throughput">
        <h2 id="throughput">{`Jobs per ${range.step.toLowerCase()}`}</h2>
        <Chart
          label={`Last ${range.name}: ${told(`${plural(sum(counts.enqueued), 'job')} accepted, ${count(sum(counts.succeeded))} succeeded, ${count(sum(counts.failed))} failed.`)}`}
          at={at} format={compact} stepped
          series={[
            { name: 'accepted', tone: 'soft', filled: true, values: counts.enqueued, shown: told(count(sum(counts.enqueued))) },
            { name: 'succeeded', tone: 'accent', values: counts.succeeded, shown: told(count(sum(counts.succeeded))) },
            { name: 'failed', tone: 'bad', values: counts.failed, shown: told(count(sum(counts.failed))) },
          ]}
        />
      </section>
      <section class="card" aria-labelledby="times">
        <h2 id="times">Times</h2>
        <Chart
          label={`Last ${range.name}: ${told(`run time p95 ${worst(times.run95)}, wait p95 ${worst(times.wait95)} in a ${range.step.toLowerCase()}.`)}`}
          at={at} format={(value) => length(value * 1_000)}
          series={[
            { name: 'run p95', tone: 'accent', values: times.run95, shown: told(worst(times.run95)) },
            { name: 'run p50', tone: 'soft', values: times.run50, shown: told(worst(times.run50)) },
            { name: 'wait p95', tone: 'warn', values: times.wait95, shown: told(worst(times.wait95)) },
          ]}
        />
      </section>
    </div>
  );
}
