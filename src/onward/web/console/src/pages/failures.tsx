// The failures: errors grouped by handler, code and message, with their course, and the buttons for a whole group.
import { useState } from 'preact/hooks';
import type { Filter } from '../bulk';
import { Answer } from '../components/Answer';
import { ConfirmBulk } from '../components/ConfirmBulk';
import { EmptyState } from '../components/EmptyState';
import { ForAdmins } from '../components/ForAdmins';
import { RangeChoice } from '../components/RangeChoice';
import { Sparkline } from '../components/Sparkline';
import { Table } from '../components/Table';
import { Time } from '../components/Time';
import { FURTHER, isFurther } from '../failures';
import { count, moment, plural } from '../format';
import { failures, type Group } from '../generated/failures';
import { useQuery } from '../hooks';
import { useRange, withSearch } from '../range';
import { go, href, useRoute } from '../route';
import { useSystem } from '../viewer';

const LOOK_MS = 10_000;
const PARTS = 12;
const FEW = 100; // kinds of errors that are shown at first
const HOUR_MS = 3_600_000;
const ORDERS = { most: 'Most first', newest: 'Newest first' } as const;
type Order = keyof typeof ORDERS;

export function Failures() {
  return (
    <div class="stack">
      <div class="bar"><h1>Failures</h1><RangeChoice /></div>
      <ForAdmins what="Failures"><Groups /></ForAdmins>
    </div>
  );
}

function Groups() {
  const { search } = useRoute();
  const range = useRange();
  const handler = search.get('handler') ?? '';
  const order: Order = search.get('order') === 'newest' ? 'newest' : 'most';
  // The history has errors by the hour.
  const from = new Date(Math.floor(Date.parse(range.from) / HOUR_MS) * HOUR_MS).toISOString();
  const asked = useQuery(failures, { from, to: range.to, handler: handler ? [handler] : null, parts: PARTS }, LOOK_MS, `${range.name} ${handler}`);
  return (
    <section class="card" aria-labelledby="errors">
      <div class="bar">
        <h2 id="errors">Errors</h2>
        <div class="bar">
          <HandlerChoice handler={handler} />
          <nav class="choice" aria-label="Order">
            {(Object.keys(ORDERS) as Order[]).map((one) => (
              <a key={one} href={withSearch('failures', search, { order: one === 'most' ? '' : one })} aria-current={one === order ? 'true' : undefined}>{ORDERS[one]}</a>
            ))}
          </nav>
        </div>
      </div>
      <Answer of={asked}>
        {({ failures: groups }) => (groups.length
          ? <Shown groups={ordered(groups, order)} from={from} refresh={asked.refresh} />
          : <EmptyState title={`No job has failed since ${moment(from)}.`}>{handler ? <a href={withSearch('failures', search, { handler: '' })}>Show all handlers</a> : null}</EmptyState>)}
      </Answer>
    </section>
  );
}

function HandlerChoice({ handler }: { handler: string }) {
  const { search } = useRoute();
  const handlers = useSystem()?.handlers ?? [];
  return (
    <label class="inline">
      <span>Handler</span>
      <select value={handler} onChange={(event) => go(withSearch('failures', search, { handler: event.currentTarget.value }))}>
        <option value="">All</option>
        {[...new Set(handler ? [...handlers, handler] : handlers)].sort().map((name) => <option key={name} value={name}>{name}</option>)}
      </select>
    </label>
  );
}

function Shown({ groups, from, refresh }: { groups: readonly Group[]; from: string; refresh: () => void }) {
  const total = groups.reduce((sum, group) => sum + group.count, 0);
  const [most, setMost] = useState(FEW);
  const hasCourse = groups[0]!.trend.length > 2;
  return (
    <>
      <p class="faint small summary">{`${plural(total, 'failure')} of ${plural(groups.length, 'kind')} since ${moment(from)}. A job that failed, was retried and failed again counts twice.`}</p>
      <Table
        label="Failures" kind="failures" rows={groups.slice(0, most)} rowKey={({ handler, code, message }) => `${handler} ${code} ${message}`}
        columns={[
          { name: 'error', head: 'Error', cell: (group) => <ErrorCell group={group} from={from} /> },
          { name: 'count', head: 'Failures', width: 6, numeric: true, cell: (group) => count(group.count) },
          ...(hasCourse ? [{ name: 'course', head: 'Over the time', width: 10, away: true, cell: course } as const] : []),
          { name: 'first', head: 'First', width: 8, away: true, cell: ({ firstAt }) => <Time at={firstAt} relative /> },
          { name: 'last', head: 'Last', width: 8, cell: ({ lastAt }) => <Time at={lastAt} relative /> },
          { name: 'do', head: 'All of them', width: 16, cell: (group) => (isFurther(group) ? null : <Actions group={group} from={from} refresh={refresh} />) },
        ]}
      />
      {groups.length > most ? <div class="pager"><button type="button" onClick={() => setMost(Infinity)}>{`Show ${count(groups.length - most)} more`}</button></div> : null}
    </>
  );
}

function ErrorCell({ group, from }: { group: Group; from: string }) {
  const { handler, code, message } = group;
  if (isFurther(group)) return <div><b>{handler}</b><p class="note">{FURTHER}</p></div>;
  return (
    <div>
      <a class="code" href={toJobs(group, from)}>{code}</a> <span class="faint">in</span> {handler}
      <p class="note" title={message}>{message}</p>
    </div>
  );
}

function Actions({ group, from, refresh }: { group: Group; from: string; refresh: () => void }) {
  const same = { handler: [group.handler], errorCode: [group.code], errorMessage: group.message };
  const failed: Filter = { ...same, status: ['FAILED'], finishedAfter: from };
  const what = `with ${group.code} in ${group.handler}`;
  return (
    <div class="actions">
      <ConfirmBulk kind="retry" filter={failed} label="Retry…" what={what} done={refresh} />
      <ConfirmBulk kind="cancel" filter={{ ...same, status: ['RETRYING'] }} label="Cancel retries…" what={`that wait for a retry ${what}`} done={refresh} />
    </div>
  );
}

function course({ trend, count: total }: Group) {
  const most = trend.indexOf(Math.max(...trend));
  const where = most < trend.length / 3 ? 'at the beginning' : most < (trend.length * 2) / 3 ? 'in the middle' : 'towards the end';
  return <Sparkline values={trend} tone="bad" label={`${plural(total, 'failure')}, most of them ${where} of the time`} />;
}

function ordered(groups: readonly Group[], order: Order): readonly Group[] {
  return order === 'most' ? groups : [...groups].sort((one, other) => Date.parse(other.lastAt) - Date.parse(one.lastAt));
}

const toJobs = ({ handler, code, message }: Group, from: string): string => (
  href('jobs', { status: ['FAILED'], handler, code, message, finishedAfter: from }));
