// A form for each mutation that makes a job, made from introspection; what is sent from here is followed until it is done.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { Answer } from '../components/Answer';
import { EmptyState } from '../components/EmptyState';
import { MutationForm } from '../components/MutationForm';
import { Progress } from '../components/Progress';
import { StatusMark } from '../components/StatusMark';
import { Duration } from '../components/Time';
import { between, count } from '../format';
import { sendAgain, type SendAgain } from '../generated/job';
import { sentJob, sentJobUpdated, type Sent } from '../generated/send';
import { connection, type Operation } from '../graphql';
import { useQuery, useSubscription } from '../hooks';
import { INTROSPECTION, isClosed, senders, typesOf, type Schema, type Sender, type Types } from '../inputs';
import { announce } from '../notices';
import { go, href, toJob, useRoute } from '../route';
import { word } from '../status';
import { useStore } from '../store';

const KEPT = 6;
const LOOK_MS = 3_000;
const FORMS: Operation<{ __schema: Schema }, object> = { text: INTROSPECTION };
const NOTHING = {};
const REFUSED = 'This server does not show its schema, so there are no forms. Send the mutation from your program, or from a server in development.';

export function Send() {
  const asked = useQuery(FORMS, NOTHING);
  const [sent, setSent] = useState<readonly string[]>([]);
  return (
    <div class="stack">
      <h1>Send a job</h1>
      {asked.error && isClosed(asked.error)
        ? <section class="card"><EmptyState title="No forms here.">{REFUSED}</EmptyState></section>
        : <Answer of={asked}>{({ __schema: schema }) => (
          <div class="halves sending">
            <Forms schema={schema} accepted={(id) => setSent((known) => [id, ...known.filter((one) => one !== id)].slice(0, KEPT))} />
            <section class="card" aria-labelledby="sent"><h2 id="sent">Sent from here</h2>
              {sent.length ? <ul class="sent">{sent.map((id) => <Followed key={id} id={id} />)}</ul>
                : <EmptyState title="Nothing sent yet.">A job that you send is shown here, step by step, until it is done.</EmptyState>}
            </section>
          </div>
        )}</Answer>}
    </div>
  );
}

function Forms({ schema, accepted }: { schema: Schema; accepted: (id: string) => void }) {
  const { path, search } = useRoute();
  const all = useMemo(() => senders(schema), [schema]);
  const types = useMemo(() => typesOf(schema), [schema]);
  const chosen = all.find(({ name }) => name === path[1]) ?? (path[1] ? null : all[0]);
  if (!all.length) return <section class="card"><EmptyState title="No mutation makes a job.">A handler with <code>mutation=True</code> gives the schema one.</EmptyState></section>;
  return (
    <section class="card" aria-label="Form">
      <div class="field">
        <label for="send-mutation">Mutation</label>
        <select id="send-mutation" value={chosen?.name ?? ''} onChange={(event) => go(href(`send/${event.currentTarget.value}`))}>
          {chosen ? null : <option value="">Choose…</option>}
          {all.map(({ name }) => <option key={name} value={name}>{name}</option>)}
        </select>
      </div>
      {chosen ? <Form key={`${chosen.name} ${search.get('again') ?? ''}`} sender={chosen} types={types} accepted={accepted} again={search.get('again')} />
        : <EmptyState title={`The schema has no mutation ${path[1]} that makes a job.`} />}
    </section>
  );
}

// The mutation's form; with the id of a job `again` it is filled with what that job was sent with.
function Form({ again, ...form }: { sender: Sender; types: Types; accepted: (id: string) => void; again: string | null }) {
  const asked = useQuery(sendAgain, again === null ? null : { id: again });
  if (again === null) return <MutationForm {...form} />;
  return <Answer of={asked}>{({ job }) => <Filled {...form} again={again} as={job?.sendAgain ?? null} />}</Answer>;
}

function Filled({ again, as: given, ...form }: { sender: Sender; types: Types; accepted: (id: string) => void; again: string; as: NonNullable<SendAgain['job']>['sendAgain'] }) {
  const first = useRef(given); // a later answer fills no form that somebody has edited
  const filled = first.current?.mutation === form.sender.name ? first.current : null;
  if (!filled) return <EmptyState title={`No job ${again} can be sent again as ${form.sender.name}.`}><a href={href(`send/${form.sender.name}`)}>Begin with an empty form</a></EmptyState>;
  return (
    <>
      <p class="callout">
        Filled as for <a href={toJob(again)} class="mono">{again}</a>. Sent, it is another job.
        {filled.secret.length ? ` Secret, and to be typed again: ${filled.secret.join(', ')}.` : ''}
      </p>
      <MutationForm {...form} filled={filled.input as { readonly [name: string]: unknown }} />
    </>
  );
}

function Followed({ id }: { id: string }) {
  const live = useStore(connection) === 'live';
  const [pushed, setPushed] = useState<Sent | null>(null);
  const newest = useRef<Sent | null>(null);
  const done = newest.current?.done ?? false;
  const asked = useQuery(sentJob, done ? null : { id }, LOOK_MS);
  useSubscription(sentJobUpdated, live && !done ? { id } : null, { next: ({ jobUpdated }) => setPushed(jobUpdated), done: asked.refresh });
  for (const one of [pushed, asked.data?.job]) if (one && one.version >= (newest.current?.version ?? 0)) newest.current = one;
  const job = newest.current;
  useEffect(() => { if (job?.done) announce(`${job.handler} ${word(job.status).toLowerCase()}`); }, [job?.done]);
  if (!job) return <li data-job={id}><a href={toJob(id)} class="mono">{id}</a></li>;
  const { handler, status, progress, steps, error } = job;
  return (
    <li data-job={id}>
      <p class="bar"><a href={toJob(id)}>{handler}</a><StatusMark status={status} /></p>
      {!job.done && progress ? <Progress completed={progress.completed} total={progress.total} /> : null}
      {steps.length > 1 ? <p class="faint small">{steps.map(({ name, status: of }) => `${name}: ${word(of).toLowerCase()}`).join(' · ')}</p> : null}
      <p class={error ? 'note small' : 'faint small'} data-error={error && job.done ? '' : undefined}>{said(job)}</p>
    </li>
  );
}

function said({ error, progress, done, finishedAt, createdAt, waitingFor }: Sent) {
  if (error) return `${error.code}: ${error.message}`;
  if (done && finishedAt) return <>over <Duration ms={between(createdAt, finishedAt)} /> after it was accepted</>;
  if (progress?.message) return progress.message;
  if (progress) return `${count(progress.completed)}${progress.total ? ` of ${count(progress.total)}` : ''}`;
  return waitingFor ? `waits for ${waitingFor}` : '';
}
