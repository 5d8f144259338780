// One job, whole: what it does now, when it did what, its steps, attempts and result, and what can be done about it.
import { useEffect, useRef, useState } from 'preact/hooks';
import { question, reasonOf, ReasonField } from '../components/Dialog';
import { Progress } from '../components/Progress';
import { SchemaForm } from '../components/SchemaForm';
import { StatusMark } from '../components/StatusMark';
import { json } from '../format';
import { cancelJob, retryJob, signalJob, type Whole } from '../generated/job';
import { ask, type UserError } from '../graphql';
import { announce } from '../notices';
import { go } from '../route';
import { word } from '../status';
import { useFormAgain } from './job/again';
import { Attempts } from './job/attempts';
import { Children } from './job/children';
import { Facts } from './job/facts';
import { Log } from './job/log';
import { Output } from './job/output';
import type { JsonSchema } from '../../../static/shared/schema.js';
import { Steps } from './job/steps';
import { Timeline } from './job/timeline';
import { useJob } from './job/watch';
import { progressLine } from './jobs/note';

export function JobPage({ id, back }: { id: string; back: string }) {
  const { job, error, run, again } = useJob(id);
  const title = useRef<HTMLHeadingElement>(null);
  const before = useRef('');
  useEffect(() => title.current?.focus(), []);
  useEffect(() => {
    document.title = job ? `${word(job.status)}: ${job.handler} - Onward` : 'Job - Onward';
    if (job && before.current && before.current !== job.status) announce(word(job.status));
    before.current = job?.status ?? '';
  }, [job?.status]);
  return (
    <article class="stack" id="job">
      <p><a href={back} class="back">← All jobs</a></p>
      <header class="head">
        <div>
          <h1 ref={title} tabIndex={-1}>{job?.handler ?? (job === null ? 'No such job' : 'Job')}</h1>
          <p class="mono faint">{id}</p>
        </div>
        {job ? <StatusMark status={job.status} /> : null}
      </header>
      {job === null ? <p class="callout">No job has this id, or it is not yours to see. Old jobs are removed after a while.</p> : null}
      {error && !job ? <p class="callout" role="alert" data-error="">{error.message}</p> : null}
      {job ? <Now job={job} again={again} /> : null}
      <Output id={id} run={run} />
      {job ? <Past job={job} /> : null}
      {job ? <Log job={job} /> : null}
      {job ? <Children id={id} /> : null}
    </article>
  );
}

function Now({ job, again }: { job: Whole; again: () => void }) {
  const form = useFormAgain(job.id);
  const [said, setSaid] = useState('');
  const act = async (call: () => Promise<readonly UserError[]>) => {
    setSaid('');
    setSaid(await call().then((errors) => errors.map(({ message }) => message).join(' '), (error: Error) => error.message));
    again();
  };
  // The second click of a double click is no second wish: it would meet the job that the first has queued.
  const retry = (fromStart: boolean) => async ({ detail }: MouseEvent) => {
    if (detail < 2) await act(async () => (await ask(retryJob, { input: { id: job.id, fromStart } })).retryJob?.errors ?? []);
  };
  const cancel = async () => {
    const answer = await question({
      title: 'Cancel this job?', yes: 'Cancel the job', text: 'What has been done stays done. A job that runs ends at its next step.',
      fields: <ReasonField />,
    });
    if (answer) await act(async () => (await ask(cancelJob, { input: { id: job.id, reason: reasonOf(answer) } })).cancelJob?.errors ?? []);
  };
  const line = job.done ? '' : progressLine(job);
  return (
    <>
      {job.waitingFor ? <p class="callout">{`Waiting for ${job.waitingFor}`}</p> : null}
      {job.error ? (
        <div class="callout" data-error="" data-past={job.status === 'SUCCEEDED' ? '' : undefined}>
          <p>
            <b class="mono">{job.error.code}</b>
            {job.error.step ? ` in ${job.error.step}` : ''}{job.done || job.error.retryable ? '' : ', not retried'}
          </p>
          <p>{job.error.message}</p>
        </div>
      ) : null}
      {line && job.progress ? <div><Progress completed={job.progress.completed} total={job.progress.total} /><p class="faint small">{line}</p></div> : null}
      {job.canCancel || job.canRetry || form ? (
        <div class="actions">
          {job.canRetry ? <button type="button" class="main" onClick={retry(false)}>Retry</button> : null}
          {job.canRetry ? <button type="button" onClick={retry(true)}>Retry from start</button> : null}
          {job.canCancel ? <button type="button" onClick={cancel}>Cancel…</button> : null}
          {form ? <button type="button" onClick={() => go(form)}>Edit and send again…</button> : null}
        </div>
      ) : null}
      <p class="said" role="status" data-error="">{said}</p>
      {job.wait?.schema ? <Signal key={`${job.wait.name} ${job.wait.since}`} id={job.id} wait={job.wait} again={again} /> : null}
    </>
  );
}

function Signal({ id, wait: { name, schema }, again }: { id: string; wait: NonNullable<Whole['wait']>; again: () => void }) {
  return (
    <section class="card" aria-labelledby="signal-title">
      <h2 id="signal-title">{`Answer: ${name}`}</h2>
      <SchemaForm
        schema={schema as JsonSchema} send={async (payload) => {
          const errors = (await ask(signalJob, { input: { id, name, payload } })).signalJob?.errors ?? [];
          if (!errors.length) again();
          return errors;
        }}
      />
    </section>
  );
}

function Past({ job }: { job: Whole }) {
  return (
    <>
      <div class="parts">
        <section class="card" aria-labelledby="steps-title"><h2 id="steps-title">Steps</h2><Steps job={job} /></section>
        <section class="card" aria-labelledby="facts-title"><h2 id="facts-title">Facts</h2><Facts job={job} /></section>
      </div>
      {job.attempts.length ? (
        <section class="card" aria-labelledby="attempts-title">
          <h2 id="attempts-title">Attempts</h2>
          <Timeline job={job} />
          <Attempts rows={job.attempts} />
        </section>
      ) : null}
      {job.result === null || job.result === undefined ? null : (
        <section class="card" aria-labelledby="result-title">
          <h2 id="result-title">Result</h2>
          <pre tabIndex={0} role="group" aria-label="Result">{json(job.result)}</pre>
        </section>
      )}
    </>
  );
}
