// A job's note: the most important news of it, in one line.
import { between, length, moment } from '../../format';
import type { Row } from '../../generated/jobs';
import { TERMINAL } from '../../status';

export function progressLine(job: Pick<Row, 'progress'>): string {
  if (!job.progress) return '';
  const { completed, total, message } = job.progress;
  return [total ? `${completed} of ${total}` : String(completed), message].filter(Boolean).join(' · ');
}

export function note(job: Row, waitingFor?: string | null): string {
  if (job.status === 'SCHEDULED' && job.runAt) return `not before ${moment(job.runAt)}`;
  if (job.error && (job.status === 'FAILED' || job.status === 'RETRYING')) return job.error.message;
  if (job.status === 'CANCELLED') return job.reason ?? (job.error?.code === 'EXPIRED' ? job.error.message : '');
  if (job.progress && !job.done) return progressLine(job);
  return job.done || !waitingFor ? '' : `waiting for ${waitingFor}`;
}

export function took(job: Row): string {
  return job.startedAt && job.finishedAt && TERMINAL.has(job.status) ? length(between(job.startedAt, job.finishedAt)) : '';
}
