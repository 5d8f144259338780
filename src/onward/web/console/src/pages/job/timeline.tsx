// When the job waited and ran: a bar for each attempt and each step on one line of time. The tables below say it in words.
import { between, length } from '../../format';
import type { Whole } from '../../generated/job';
import { serverNow } from '../../graphql';

const WIDTH = 1_000;
const LEAST = 4; // so that a short attempt at the very end is seen as well

interface Bar { name: string; from: string; to: string; tone: string }

export function Timeline({ job }: { job: Whole }) {
  const now = new Date(serverNow()).toISOString();
  const bars: Bar[] = [
    ...(job.attempts.length ? [{ name: 'wait', from: job.createdAt, to: job.attempts[0]!.startedAt, tone: 'faint' }] : []),
    ...job.attempts.map((attempt) => ({
      name: `attempt ${attempt.number}`, from: attempt.startedAt, to: attempt.finishedAt ?? now, tone: attempt.error ? 'bad' : attempt.finishedAt ? 'good' : 'accent',
    })),
    ...job.steps.flatMap((step) => (step.startedAt ? [{
      name: step.name, from: step.startedAt, to: step.finishedAt ?? (job.done ? job.finishedAt ?? now : now),
      tone: step.status === 'FAILED' ? 'bad' : step.status === 'SUCCEEDED' ? 'good' : 'accent',
    }] : [])),
  ];
  const begin = Math.min(...bars.map(({ from }) => Date.parse(from)));
  const whole = Math.max(1, Math.max(...bars.map(({ to }) => Date.parse(to))) - begin);
  const part = (ms: number) => (ms / whole) * WIDTH;
  return (
    <ul class="timeline" aria-label={`Timeline of ${length(whole)}`}>
      {bars.map(({ name, from, to, tone }) => (
        <li key={name + from}>
          <span class="name">{name}</span>
          <svg class={`of-${tone}`} viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">
            <rect class="track" width="1000" height="10" />
            <rect class="part" x={Math.min(WIDTH - LEAST, part(Date.parse(from) - begin))} width={Math.max(LEAST, part(between(from, to)))} height="10" />
          </svg>
          <span class="faint">{length(between(from, to))}</span>
        </li>
      ))}
    </ul>
  );
}
