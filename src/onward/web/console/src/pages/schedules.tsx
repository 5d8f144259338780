// The schedules: next and last times, buttons that run, pause and delete, and a form for a new one.
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { ActionButton } from '../components/ActionButton';
import { Answer } from '../components/Answer';
import { question } from '../components/Dialog';
import { EmptyState } from '../components/EmptyState';
import { ForAdmins } from '../components/ForAdmins';
import { StatusMark } from '../components/StatusMark';
import { Table, type Column } from '../components/Table';
import { Time } from '../components/Time';
import { parse } from '../../../static/shared/exact.js';
import {
  createSchedule, deleteSchedule, pauseSchedule, resumeSchedule, runSchedule, schedules,
  type CreateScheduleInput, type Schedules as Told,
} from '../generated/schedules';
import { ask, type UserError } from '../graphql';
import { useQuery } from '../hooks';
import { announce } from '../notices';
import { href, toJob, useRoute } from '../route';

type Row = Told['system']['schedules'][number];

const LOOK_MS = 5_000;
const PAGE = 100; // as many as the query asks for
const OVERLAP: Record<Row['overlap'], string> = { ALLOW: '', SKIP: 'skips while its last job goes on', CANCEL_LAST: 'cancels its last job' };

export function Schedules() {
  return (
    <div class="stack">
      <div class="bar"><h1>Schedules</h1></div>
      <ForAdmins what="Schedules"><List /></ForAdmins>
    </div>
  );
}

function List() {
  const after = useRoute().search.get('after') ?? '';
  const asked = useQuery(schedules, { after }, LOOK_MS);
  return (
    <Answer of={asked}>
      {({ system }) => (
        <>
          <section class="card" aria-label="Schedules">
            {system.schedules.length
              ? <Table label="Schedules" rows={system.schedules} rowKey={({ name }) => name} rowProps={({ name }) => ({ 'data-schedule': name })} columns={columns(asked.refresh)} />
              : <EmptyState title="There is no schedule.">Make one below, or in settings.toml.</EmptyState>}
            {after || system.schedules.length === PAGE ? (
              <p class="pager">
                {after ? <a href={href('schedules')}>First page</a> : null}
                {system.schedules.length === PAGE ? <a href={href('schedules', { after: system.schedules.at(-1)!.name })}>Next page</a> : null}
              </p>
            ) : null}
          </section>
          <New handlers={system.handlers} refresh={asked.refresh} />
        </>
      )}
    </Answer>
  );
}

function columns(refresh: () => void): Column<Row>[] {
  return [
    { name: 'name', head: 'Schedule', cell: (row) => <Name row={row} /> },
    { name: 'times', head: 'Times', width: 12, cell: (row) => <Times row={row} /> },
    { name: 'next', head: 'Next', width: 8, cell: (row) => <Next row={row} /> },
    { name: 'last', head: 'Last', width: 8, away: true, cell: (row) => <Last row={row} /> },
    { name: 'act', head: 'Change', width: 16, cell: (row) => <Changes row={row} refresh={refresh} /> },
  ];
}

function Name({ row: { name, handler, fromSettings, madeAt, madeBy, problem } }: { row: Row }) {
  return (
    <div>
      <b>{name}</b>
      {fromSettings ? <span class="tag">settings</span> : null}
      <div class="small faint"><a href={href('jobs', { handler })}>{handler}</a>{madeAt ? <>, made <Time at={madeAt} />{madeBy ? ` by ${madeBy}` : ''}</> : null}</div>
      {problem ? <div class="small bad">{problem}</div> : null}
    </div>
  );
}

function Times({ row: { cron, timeZone, overlap, missed } }: { row: Row }) {
  const further = [OVERLAP[overlap], missed === 'SKIP' ? 'makes up for nothing' : ''].filter(Boolean).join('; ');
  return <div><span class="mono">{cron}</span> <span class="faint">{timeZone}</span>{further ? <div class="small faint">{further}</div> : null}</div>;
}

function Next({ row: { name, nextAt, pausedAt, pausedBy, upcoming } }: { row: Row }) {
  if (pausedAt) return <div class="warn">paused since <Time at={pausedAt} />{pausedBy ? ` by ${pausedBy}` : ''}</div>;
  if (!nextAt) return <span class="faint">not known yet</span>;
  return (
    <div>
      <Time at={nextAt} relative />
      <div class="small faint"><Time at={nextAt} /></div>
      <details class="small upcoming">
        <summary aria-label={`Next times of ${name}`}>Next times</summary>
        <ol>{upcoming.map((at) => <li key={at}><Time at={at} /></li>)}</ol>
      </details>
    </div>
  );
}

function Last({ row: { lastAt, lastJob, skippedAt } }: { row: Row }) {
  const skipped = skippedAt && (!lastAt || skippedAt > lastAt);
  return (
    <div>
      {lastAt ? (lastJob ? <a href={toJob(lastJob.id)}><Time at={lastAt} relative /></a> : <Time at={lastAt} relative />) : <span class="faint">no tick yet</span>}
      {lastJob ? <div class="small"><StatusMark status={lastJob.status} /></div> : null}
      {skipped ? <div class="small warn">skipped <Time at={skippedAt} />: its last job was not over</div> : null}
    </div>
  );
}

function Changes({ row: { name, pausedAt, fromSettings }, refresh }: { row: Row; refresh: () => void }) {
  const [accepted, setAccepted] = useState('');
  const done = (errors: readonly UserError[] | undefined, word: string) => {
    if (!errors?.length) announce(`${name}: ${word}`);
    refresh();
    return errors ?? [];
  };
  const turn = async () => (pausedAt
    ? done((await ask(resumeSchedule, { name })).resumeSchedule?.errors, 'resumed')
    : done((await ask(pauseSchedule, { name })).pauseSchedule?.errors, 'paused'));
  const run = async () => {
    const answer = (await ask(runSchedule, { name })).runSchedule;
    setAccepted(answer?.job?.id ?? '');
    return done(answer?.errors, 'accepted a job');
  };
  const remove = async () => {
    if (!await question({ title: `Delete ${name}?`, text: 'It makes no more jobs. Those that it has made stay.', yes: 'Delete' })) return [];
    return done((await ask(deleteSchedule, { name })).deleteSchedule?.errors, 'deleted');
  };
  return (
    <div class="actions">
      <ActionButton label={`${pausedAt ? 'Resume' : 'Pause'} ${name}`} act={turn}>{pausedAt ? 'Resume' : 'Pause'}</ActionButton>
      <ActionButton label={`Run ${name}`} act={run}>Run</ActionButton>
      {fromSettings ? null : <ActionButton label={`Delete ${name}`} act={remove}>Delete</ActionButton>}
      {accepted ? <a class="small" href={toJob(accepted)}>its job</a> : null}
    </div>
  );
}

function New({ handlers, refresh }: { handlers: readonly string[]; refresh: () => void }) {
  const [errors, setErrors] = useState<readonly UserError[]>([]);
  const [said, setSaid] = useState('');
  const [busy, setBusy] = useState(false);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    setBusy(true);
    setSaid('');
    try {
      const input = inputOf(new FormData(form));
      const refused = (await ask(createSchedule, { input })).createSchedule?.errors ?? [];
      setErrors(refused);
      setSaid(refused.length ? '' : `${input.name} is made.`);
      if (!refused.length) form.reset();
    } catch (error) {
      setErrors([{ code: '', message: (error as Error).message }]);
    }
    setBusy(false);
    refresh();
  };
  const field = (name: string, label: string, control: (id: string, wrong: Wrong) => ComponentChildren) => {
    const [own] = errors.filter(({ path }) => path?.[0] === name);
    const id = `new-${name}`;
    const message = own && ((own.path?.length ?? 0) > 1 ? `${own.path!.slice(1).join('.')}: ${own.message}` : own.message);
    return (
      <div class="field">
        <label for={id}>{label}</label>
        {control(id, own ? { 'aria-invalid': true, 'aria-describedby': `${id}-error` } : {})}
        {own ? <p class="error" id={`${id}-error`}>{message}</p> : null}
      </div>
    );
  };
  const rest = errors.filter(({ path }) => !path?.[0] || !NAMES.has(path[0]));
  return (
    <details class="card">
      <summary>New schedule</summary>
      <form class="new-schedule" noValidate onSubmit={submit}>
        {field('name', 'Name', (id, wrong) => <input id={id} name="name" placeholder="nightly" autocomplete="off" {...wrong} />)}
        {field('handler', 'Handler', (id, wrong) => <select id={id} name="handler" {...wrong}>{handlers.map((one) => <option key={one}>{one}</option>)}</select>)}
        {field('cron', 'Times: minute, hour, day of month, month, day of week', (id, wrong) => <input id={id} name="cron" class="mono" defaultValue="30 7 * * MON-FRI" autocomplete="off" spellcheck={false} {...wrong} />)}
        {field('timeZone', 'Time zone', (id, wrong) => <input id={id} name="timeZone" defaultValue={zone} autocomplete="off" spellcheck={false} {...wrong} />)}
        {field('overlap', 'While its last job is not over', (id, wrong) => (
          <select id={id} name="overlap" {...wrong}>
            <option value="ALLOW">make the next one all the same</option>
            <option value="SKIP">skip</option>
            <option value="CANCEL_LAST">cancel the last one</option>
          </select>
        ))}
        {field('missed', 'After times at which no process ran', (id, wrong) => (
          <select id={id} name="missed" {...wrong}>
            <option value="RUN_ONCE">make one job for all</option>
            <option value="SKIP">make none</option>
          </select>
        ))}
        {field('params', 'Parameters, as JSON', (id, wrong) => <textarea id={id} name="params" class="mono" rows={3} defaultValue="{}" spellcheck={false} {...wrong} />)}
        <div class="actions"><button class="main" aria-disabled={busy}>Make schedule</button></div>
        <p class="said" role="status" data-error={rest.length ? '' : undefined}>{rest.length ? rest.map(({ message }) => message).join(' ') : said}</p>
      </form>
    </details>
  );
}

interface Wrong { 'aria-invalid'?: boolean; 'aria-describedby'?: string }
const NAMES = new Set(['name', 'handler', 'cron', 'timeZone', 'overlap', 'missed', 'params']);

function inputOf(form: FormData): CreateScheduleInput {
  const text = (name: string) => String(form.get(name) ?? '').trim();
  return {
    name: text('name'), handler: text('handler'), cron: text('cron'), timeZone: text('timeZone'), params: parameters(text('params')),
    overlap: text('overlap') as NonNullable<CreateScheduleInput['overlap']>, missed: text('missed') as NonNullable<CreateScheduleInput['missed']>,
  };
}

// Invalid JSON is sent as a text, which the server refuses at its field.
function parameters(text: string): unknown {
  try {
    return parse(text || '{}');
  } catch {
    return text;
  }
}
