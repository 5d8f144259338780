import type { ComponentChildren } from 'preact';
import { Time } from '../../components/Time';
import { between, length } from '../../format';
import type { Whole } from '../../generated/job';
import { href, toJob } from '../../route';
import { TERMINAL, word } from '../../status';
import { attempts, took } from './sums';

export function Facts({ job }: { job: Whole }) {
  const known: [string, ComponentChildren][] = [
    ['Accepted', <Time at={job.createdAt} />],
    ['Not before', job.runAt && <Time at={job.runAt} />],
    ['Expires', !job.startedAt && job.expiresAt && <Time at={job.expiresAt} />],
    ['Started', job.startedAt && <Time at={job.startedAt} />],
    ['Finished', job.finishedAt && <Time at={job.finishedAt} />],
    ['Reason for cancelling', job.reason],
    ['Waited', job.startedAt && length(between(job.createdAt, job.startedAt))],
    ['Took', job.finishedAt && job.attempts.length > 0 && took(job)],
    ['Owner', job.owner && <a href={href('jobs', { owner: job.owner })}>{job.owner}</a>],
    ['Backend', job.backend],
    ['Queue', job.queue !== 'default' && job.queue],
    ['Limit key', job.limitKey],
    ['Dispatched by', job.parent && <a href={toJob(job.parent.id)}>{job.parent.handler}</a>],
    ['Batch', job.batch && <a href={href(`batches/${job.batch.id}`)}>{batchLine(job.batch)}</a>],
    ['Attempts', attempts(job)],
    ['Version', String(job.version)],
  ];
  return <dl class="facts">{known.filter(([, value]) => value).map(([name, value]) => [<dt key={name}>{name}</dt>, <dd key={`${name}:`}>{value}</dd>])}</dl>;
}

// Such as "7 of 10 over: 6 succeeded, 1 failed, 2 queued, 1 running".
export function batchLine({ total, counts }: NonNullable<Whole['batch']>): string {
  const some = counts.filter(({ count }) => count);
  const over = some.filter(({ status }) => TERMINAL.has(status)).reduce((sum, { count }) => sum + count, 0);
  return `${over} of ${total} over${some.length ? `: ${some.map(({ status, count }) => `${count} ${word(status).toLowerCase()}`).join(', ')}` : ''}`;
}
