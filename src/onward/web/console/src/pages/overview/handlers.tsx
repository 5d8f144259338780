// The figures of each handler, in the order that the address says; run times beside those of the time before.
import { Table, type Column } from '../../components/Table';
import { count, seconds } from '../../format';
import type { Earlier, Figures } from '../../generated/overview';
import { useAddress, type Range } from '../../range';
import { useRoute } from '../../route';

const NOTED = 0.1; // a change that is worth a word
const GREAT = 0.25; // and a colour

const FIGURES: [name: string, head: string, of: (row: Figures) => number | null, shown: (value: number | null) => string, away?: boolean][] = [
  ['accepted', 'Accepted', (row) => row.enqueued, (value) => count(value ?? 0)],
  ['failed', 'Failed', (row) => row.failed, (value) => count(value ?? 0)],
  ['retried', 'Retried', (row) => row.retried, (value) => count(value ?? 0), true],
  ['wait50', 'Wait p50', (row) => row.wait.p50, seconds, true],
  ['wait95', 'Wait p95', (row) => row.wait.p95, seconds],
  ['run50', 'Run p50', (row) => row.run.p50, seconds, true],
  ['run95', 'Run p95', (row) => row.run.p95, seconds],
];

export function ByHandler({ rows, before, range }: { rows: readonly Figures[]; before: Earlier['stats']; range: Range }) {
  const address = useAddress();
  const asked = useRoute().search.get('sort');
  const order = FIGURES.find(([name]) => name === asked) ?? FIGURES[0]!;
  const earlier = new Map(before.map((row) => [row.handler, row.run.p95]));
  const columns: Column<Figures>[] = [
    { name: 'handler', head: 'Handler', cell: (row) => <a href={address({ handler: row.handler })}>{row.handler}</a> },
    ...FIGURES.map(([name, head, of, shown, away = false]): Column<Figures> => ({
      name, head, width: 7, numeric: true, away, sort: { href: address({ sort: name }), on: name === order[0] },
      cell: (row) => <span data-bad={name === 'failed' && row.failed ? '' : undefined}>{shown(of(row))}</span>,
    })),
    { name: 'change', head: `To the ${range.name} before`, width: 9, numeric: true, cell: (row) => <Change now={row.run.p95} before={earlier.get(row.handler) ?? null} /> },
  ];
  const sorted = [...rows].sort((a, b) => (order[2](b) ?? -1) - (order[2](a) ?? -1));
  return <Table label="Figures by handler" rows={sorted} rowKey={({ handler }) => handler} columns={columns} />;
}

// Of the run time p95. Percentiles are 5 % off at most, so a small change says nothing.
function Change({ now, before }: { now: number | null; before: number | null }) {
  if (now === null || before === null || before === 0) return null;
  const change = now / before - 1;
  if (Math.abs(change) < NOTED) return <span class="faint">as before</span>;
  const times = now / before >= 3 ? `${Math.round(now / before)} times as long` : `${Math.round(Math.abs(change) * 100)} % ${change > 0 ? 'slower' : 'faster'}`;
  return <span data-warn={change > GREAT ? '' : undefined}>{times}</span>;
}
