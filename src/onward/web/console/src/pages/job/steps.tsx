// The steps of a job: what each does, and when within the run.
import { between, json, length } from '../../format';
import type { Whole } from '../../generated/job';
import { word } from '../../status';

export function Steps({ job }: { job: Pick<Whole, 'steps' | 'startedAt'> }) {
  return (
    <ol class="steps">
      {job.steps.map((step) => (
        <li key={step.index} data-status={step.status}>
          <p><b>{step.name}</b> <span class="faint">{state(step, job.startedAt)}</span></p>
          {step.result === null || step.result === undefined ? null : <details><summary>Result</summary><pre>{json(step.result)}</pre></details>}
        </li>
      ))}
    </ol>
  );
}

function state(step: Whole['steps'][number], begin: string | null): string {
  const took = step.startedAt && step.finishedAt ? ` · ${length(between(step.startedAt, step.finishedAt))}` : '';
  const after = begin && step.startedAt ? between(begin, step.startedAt) : 0;
  const into = took && after >= 1 ? `, ${length(after)} into the run` : '';
  return word(step.status).toLowerCase() + took + into;
}
