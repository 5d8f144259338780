// The present and the last hour, day or week: the number of jobs, their times, failures, and waiting jobs.
import { useEffect } from 'preact/hooks';
import { Answer } from '../components/Answer';
import { Counts } from '../components/Counts';
import { EmptyState } from '../components/EmptyState';
import { ForAdmins } from '../components/ForAdmins';
import { RangeChoice } from '../components/RangeChoice';
import { Time } from '../components/Time';
import { count, plural, seconds } from '../format';
import { earlier, errors, overview, type Earlier, type Overview as Told } from '../generated/overview';
import { useQuery } from '../hooks';
import { useAddress, useRange, type Range } from '../range';
import { go, href, useRoute } from '../route';
import { useSystem, useViewer } from '../viewer';
import { Course } from './overview/course';
import { Failed } from './overview/failed';
import { ByHandler } from './overview/handlers';
import { Backends, Waiting } from './overview/waiting';

const SHOWN = 5; // paused handlers

export function Overview() {
  const { search } = useRoute();
  const handler = search.get('handler') ?? '';
  const address = useAddress();
  const viewer = useViewer();
  useEffect(() => { if (search.has('status')) go(`#/jobs?${search}`, { replace: true }); }, [search]); // of the page before this one
  return (
    <div class="stack">
      <div class="bar">
        <h1>Overview</h1>
        {handler ? <p class="chip">{handler} <a href={address({ handler: '' })} aria-label={`All handlers instead of ${handler}`}>✕</a></p> : null}
        <RangeChoice />
      </div>
      <Paused handler={handler} />
      <Counts address={(status) => href('jobs', { status, handler })} />
      {handler ? <p class="faint small">{`These numbers are of all handlers; each leads to the jobs of ${handler}.`}</p> : null}
      {viewer && !viewer.admin ? <section class="card" aria-labelledby="backends"><h2 id="backends">Backends</h2><Backends /></section> : null}
      <ForAdmins what="Figures of all jobs"><Figures handler={handler} /></ForAdmins>
    </div>
  );
}

// Handlers whose jobs wait because somebody has paused them: of all, or the one that is chosen.
function Paused({ handler }: { handler: string }) {
  const found = useSystem()?.paused.filter((one) => !handler || one.handler === handler) ?? [];
  if (!found.length) return null;
  const more = found.length - SHOWN;
  return (
    <p class="callout">
      {'Paused: '}
      {found.slice(0, SHOWN).map(({ handler: name, since, by }, index) => (
        <span key={name}>{index ? '; ' : ''}<a href={href('handlers')}>{name}</a>{' since '}<Time at={since} />{by ? ` by ${by}` : ''}</span>
      ))}
      {more > 0 ? `; and ${plural(more, 'more handler')}` : ''}
    </p>
  );
}

function Figures({ handler }: { handler: string }) {
  const range = useRange();
  const named = handler ? [handler] : [];
  const time = { from: range.from, to: range.to, handler: named };
  const of = `${range.name} ${handler}`;
  const asked = useQuery(overview, time, range.lookMs, of);
  const failed = useQuery(errors, time, range.lookMs, of);
  const before = useQuery(earlier, { from: range.before, to: range.from, handler: named }, range.lookMs, of).data?.stats ?? [];
  return (
    <>
      <Answer of={asked}>{(told) => <Sums told={told} />}</Answer>
      <Course range={range} handler={named} of={of} />
      <div class="halves">
        <Waiting handler={handler} />
        <Answer of={failed}>{({ failures }) => <Failed rows={failures} range={range} />}</Answer>
      </div>
      {asked.data ? <Handlers rows={asked.data.each} before={before} range={range} /> : null}
    </>
  );
}

function Sums({ told: { all } }: { told: Told }) {
  const sums = all[0];
  const failed = sums?.failed ?? 0;
  const ended = failed + (sums?.succeeded ?? 0);
  const share = ended ? ` (${(failed / ended * 100).toFixed(failed / ended < 0.1 ? 1 : 0)} %)` : '';
  const shown: [string, string, boolean?][] = [
    ['Accepted', count(sums?.enqueued ?? 0)],
    ['Succeeded', count(sums?.succeeded ?? 0)],
    ['Failed', `${count(failed)}${failed ? share : ''}`, failed > 0],
    ['Retried attempts', count(sums?.retried ?? 0)],
    ['Wait p95', seconds(sums?.wait.p95) || '–'],
    ['Run p95', seconds(sums?.run.p95) || '–'],
  ];
  return (
    <dl class="figures">
      {shown.map(([name, value, bad]) => <div key={name}><dt>{name}</dt><dd data-bad={bad ? '' : undefined}>{value}</dd></div>)}
    </dl>
  );
}

function Handlers({ rows, before, range }: { rows: Told['each']; before: Earlier['stats']; range: Range }) {
  return (
    <section class="card" aria-labelledby="by-handler">
      <h2 id="by-handler">{`By handler, in the last ${range.name}`}</h2>
      {rows.length ? <ByHandler rows={rows} before={before} range={range} /> : <EmptyState title={`No job in the last ${range.name}.`} />}
    </section>
  );
}
