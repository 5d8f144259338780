// The filter of the list: as it stands in the address, as the server takes it, and as a test on a job that has just changed.
import type { Row } from '../../generated/jobs';
import { href } from '../../address';
import { STATUSES, type Status } from '../../status';

export interface Filter {
  status: readonly Status[];
  handler: string; // patterns, as in "email.* steps.*"
  code: string; // of the error
  owner: string;
  after: string; // ISO 8601, as all times in addresses
  before: string;
  message: string; // the beginning of the error's
  finishedAfter: string;
  finishedBefore: string;
  batch: string; // the id of the batch that they are children of
}

export const NONE: Filter = { status: [], handler: '', code: '', owner: '', after: '', before: '', message: '', finishedAfter: '', finishedBefore: '', batch: '' };

const TIMES = new Set(['after', 'before', 'finishedAfter', 'finishedBefore']);

export function readFilter(search: URLSearchParams): Filter {
  const text = (name: string) => (search.get(name) ?? '').trim();
  const time = (name: string) => (Number.isNaN(Date.parse(text(name))) ? '' : new Date(text(name)).toISOString());
  return {
    status: STATUSES.filter((status) => search.getAll('status').includes(status)),
    handler: text('handler'), code: text('code'), owner: text('owner'), after: time('after'), before: time('before'),
    message: text('message'), finishedAfter: time('finishedAfter'), finishedBefore: time('finishedBefore'), batch: text('batch'),
  };
}

// The parts of an address that say no filter. Without them the list, and what is done to all of it, would be wider than meant.
export function unreadable(search: URLSearchParams): string[] {
  return [...search].filter(([name, value]) => {
    if (name === 'status') return !STATUSES.some((status) => status === value);
    if (TIMES.has(name)) return Number.isNaN(Date.parse(value.trim()));
    return !(name in NONE);
  }).map(([name, value]) => `${name}=${value}`);
}

export const toJobs = (filter: Partial<Filter>): string => href('jobs', { ...filter });

export function asInput({ status, handler, code, owner, after, before, message, finishedAfter, finishedBefore, batch }: Filter) {
  const filter = {
    ...(status.length && { status: [...status] }),
    ...(words(handler).length && { handler: words(handler) }),
    ...(words(code).length && { errorCode: words(code) }),
    ...(owner && { owner }),
    ...(after && { createdAfter: after }),
    ...(before && { createdBefore: before }),
    ...(message && { errorMessage: message }),
    ...(finishedAfter && { finishedAfter }),
    ...(finishedBefore && { finishedBefore }),
    ...(batch && { batch }),
  };
  return Object.keys(filter).length ? filter : null;
}

// A job does not say its owner and its batch: the server sends only those that are asked for.
export function matcher({ status, handler, code, after, before, message, finishedAfter, finishedBefore }: Filter): (job: Row) => boolean {
  const patterns = words(handler).map((pattern) => new RegExp(`^${pattern.split('*').map(escaped).join('.*')}$`));
  const codes = words(code);
  const within = (time: string | null, begin: string, end: string) => (!begin || Date.parse(time ?? '') >= Date.parse(begin)) && (!end || Date.parse(time ?? '') <= Date.parse(end));
  return (job) => (!status.length || status.includes(job.status))
    && (!patterns.length || patterns.some((one) => one.test(job.handler)))
    && (!codes.length || codes.includes(job.error?.code ?? ''))
    && (!message || (job.error !== null && line(job.error.message).startsWith(line(message))))
    && within(job.createdAt, after, before) && within(job.finishedAt, finishedAfter, finishedBefore);
}

const line = (text: string): string => text.replace(/\s+/g, ' ').trim();
const words = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean);
const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
