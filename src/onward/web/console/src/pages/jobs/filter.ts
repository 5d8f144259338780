// The filter of the list: as it stands in the address, as the server takes it, and as a test on a job that has just changed.
import type { Row } from '../../generated/jobs';
import { href } from '../../address';
import { parse } from '../../../../static/shared/exact.js';
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
  param: string; // values of parameters, as in 'order=A-17 address.city="New York"'
}

export const NONE: Filter = { status: [], handler: '', code: '', owner: '', after: '', before: '', message: '', finishedAfter: '', finishedBefore: '', batch: '', runAfter: '', runBefore: '', param: '' };

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
    runAfter: time('runAfter'), runBefore: time('runBefore'), param: text('param'),
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

// Why no job can match, in words: a time that would have to end before it begins, or a parameter without a value.
export function crossed(filter: Filter): string {
  if (params(filter.param) === null) return `A parameter has a name and a value, as in ${EXAMPLE}. Write a value with spaces in "quotes".`;
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

export function asInput({ status, handler, code, owner, after, before, message, finishedAfter, finishedBefore, batch, runAfter, runBefore, param }: Filter) {
  const wanted = params(param) ?? [];
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
    ...(wanted.length && { params: wanted }),
  };
  return Object.keys(filter).length ? filter : null;
}

// A job does not say its batch and its parameters, which never change, as its owner: the server sends only those that are asked for.
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
export const EXAMPLE = 'order=A-17';
const PARAM = /^([^\s="]+)=("(?:[^"\\]|\\.)*"|[^\s"]+)(?:\s+|$)/;

// The parameters of a text such as 'order=A-17 size=5'; null if it has another form. 5, true and null are looked for as
// texts, too, since a person does not see of which kind a parameter is: "5" in quotes is the text alone.
export function params(text: string): { name: string; values: unknown[] }[] | null {
  const found: { name: string; values: unknown[] }[] = [];
  for (let rest = text.trim(); rest;) {
    const [whole = '', name = '', value = ''] = PARAM.exec(rest) ?? [];
    const values = whole && meant(value);
    if (!values) return null;
    found.push({ name, values });
    rest = rest.slice(whole.length);
  }
  return found;
}

const LARGEST = 2n ** 64n; // of a whole number that a parameter can be

function meant(value: string): unknown[] | null {
  if (value.startsWith('"')) {
    try { return [JSON.parse(value)]; } catch { return null; }
  }
  if (/^(true|false|null)$/.test(value)) return [JSON.parse(value), value];
  if (/^-?(0|[1-9]\d*)$/.test(value)) return BigInt(value) < LARGEST && BigInt(value) >= -LARGEST / 2n ? [parse(value), value] : [value];
  return /^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(value) && Number.isFinite(Number(value)) ? [Number(value), value] : [value];
}

const words = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean);
const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
