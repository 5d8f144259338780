// The filter of the list: as it stands in the address, as the server takes it, and as a test on a job that has just changed.
import type { Row } from '../../generated/jobs';
import { href } from '../../address';
import { fully } from '../../format';
import { STATUSES, type Status } from '../../status';

export interface Filter {
  status: readonly Status[];
  handler: string; // patterns, as in "email.* steps.*"
  code: string; // of the error
  owner: string;
  after: string; // ISO 8601, as all times in addresses
  before: string;
  message: string; // of the error: in one line, as the failures have it
  finishedAfter: string;
  finishedBefore: string;
  batch: string; // the id of the batch that they are children of
  runAfter: string; // with either, only jobs that are scheduled
  runBefore: string;
}

export const NONE: Filter = { status: [], handler: '', code: '', owner: '', after: '', before: '', message: '', finishedAfter: '', finishedBefore: '', batch: '', runAfter: '', runBefore: '' };

const SPANS = [['after', 'before', 'accepted'], ['runAfter', 'runBefore', 'to start'], ['finishedAfter', 'finishedBefore', 'finished']] as const;
const TIMES = new Set<string>(SPANS.flatMap(([after, before]) => [after, before]));
const PLACES = new Set(['older', 'newer']);

export function readFilter(search: URLSearchParams): Filter {
  const text = (name: string) => (search.get(name) ?? '').trim();
  const time = (name: string) => (Number.isNaN(Date.parse(text(name))) ? '' : new Date(text(name)).toISOString());
  return {
    status: STATUSES.filter((status) => search.getAll('status').includes(status)),
    handler: text('handler'), code: text('code'), owner: text('owner'), after: time('after'), before: time('before'),
    message: text('message'), finishedAfter: time('finishedAfter'), finishedBefore: time('finishedBefore'), batch: text('batch'),
    runAfter: time('runAfter'), runBefore: time('runBefore'),
  };
}

// The parts of an address that say no filter. Without them the list, and what is done to all of it, would be wider than meant.
export function unreadable(search: URLSearchParams): string[] {
  return [...search].filter(([name, value]) => {
    if (name === 'status') return !STATUSES.some((status) => status === value);
    if (TIMES.has(name)) return Number.isNaN(Date.parse(value.trim()));
    return !(name in NONE) && !PLACES.has(name);
  }).map(([name, value]) => `${name}=${value}`);
}

// The first time that would have to end before it begins, in words; no job matches it.
export function crossed(filter: Filter): string {
  const found = SPANS.find(([after, before]) => filter[after] && filter[before] && Date.parse(filter[after]) > Date.parse(filter[before]));
  return found ? `No job is ${found[2]} after ${fully(filter[found[0]])} and before ${fully(filter[found[1]])}.` : '';
}

// The page of the list: the jobs that are older or newer than the one at a cursor; without one, the newest.
export interface Place { older?: string; newer?: string }

export function readPlace(search: URLSearchParams): Place {
  const [older, newer] = [search.get('older'), search.get('newer')];
  return older ? { older } : newer ? { newer } : {};
}

export const toJobs = (filter: Partial<Filter>, place: Place = {}): string => href('jobs', { ...filter, ...place });

export function asInput({ status, handler, code, owner, after, before, message, finishedAfter, finishedBefore, batch, runAfter, runBefore }: Filter) {
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
    ...(runAfter && { runAfter }),
    ...(runBefore && { runBefore }),
  };
  return Object.keys(filter).length ? filter : null;
}

// A job does not say its owner and its batch: the server sends only those that are asked for.
export function matcher({ status, handler, code, after, before, message, finishedAfter, finishedBefore, runAfter, runBefore }: Filter): (job: Row) => boolean {
  const patterns = words(handler).map((pattern) => new RegExp(`^${pattern.split('*').map(escaped).join('.*')}$`));
  const codes = words(code);
  const within = (time: string | null, begin: string, end: string) => (!begin || Date.parse(time ?? '') >= Date.parse(begin)) && (!end || Date.parse(time ?? '') <= Date.parse(end));
  return (job) => (!status.length || status.includes(job.status))
    && (!patterns.length || patterns.some((one) => one.test(job.handler)))
    && (!codes.length || codes.includes(job.error?.code ?? ''))
    && (!message || (job.error !== null && line(job.error.message) === line(message)))
    && (!(runAfter || runBefore) || (job.status === 'SCHEDULED' && within(job.runAt, runAfter, runBefore)))
    && within(job.createdAt, after, before) && within(job.finishedAt, finishedAfter, finishedBefore);
}

const LINE = 200; // characters of a message that the server compares
const line = (text: string): string => [...text.replace(/[ \t\n\r\f\0]+/g, ' ').trim()].slice(0, LINE).join('').trimEnd();
const words = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean);
const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
