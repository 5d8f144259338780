// The time that figures are of: the last hour, day or week. It ends with the present minute or hour.
import { serverNow } from './graphql';
import { href, useRoute } from './route';

export type RangeName = 'hour' | 'day' | 'week';
export interface Range {
  name: RangeName;
  from: string;
  to: string;
  before: string; // the begin of the time before, which is as long
  step: 'MINUTE' | 'HOUR';
  stepMs: number;
  lookMs: number; // how often to ask: the longer the time, the dearer the answer and the smaller the change
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const SPANS = {
  hour: { ms: HOUR, step: 'MINUTE', stepMs: MINUTE, lookMs: 10_000 },
  day: { ms: 24 * HOUR, step: 'HOUR', stepMs: HOUR, lookMs: 30_000 },
  week: { ms: 7 * 24 * HOUR, step: 'HOUR', stepMs: HOUR, lookMs: 60_000 },
} as const;
export const RANGES = Object.keys(SPANS) as RangeName[];

export function rangeOf(name: RangeName, now: number): Range {
  const { ms, step, stepMs, lookMs } = SPANS[name];
  const to = (Math.floor(now / stepMs) + 1) * stepMs;
  const iso = (time: number) => new Date(time).toISOString();
  return { name, from: iso(to - ms), to: iso(to), before: iso(to - 2 * ms), step, stepMs, lookMs };
}

// The range in the address (`range=day`; an hour without), as of now.
export function useRange(): Range {
  const asked = useRoute().search.get('range') as RangeName | null;
  return rangeOf(asked && RANGES.includes(asked) ? asked : 'hour', serverNow());
}

// The begins of its steps, in milliseconds, oldest first.
export function steps({ from, to, stepMs }: Range): number[] {
  const first = Date.parse(from);
  return Array.from({ length: (Date.parse(to) - first) / stepMs }, (_, index) => first + index * stepMs);
}

// An address with other values in it; an empty one is left out.
export function withSearch(path: string, search: URLSearchParams, changes: Record<string, string | readonly string[]>): string {
  const known = Object.fromEntries([...new Set(search.keys())].map((name) => [name, search.getAll(name)]));
  return href(path, { ...known, ...changes });
}

// The same of the present page.
export function useAddress(): (changes: Record<string, string | readonly string[]>) => string {
  const { path, search } = useRoute();
  return (changes) => withSearch(path.map(encodeURIComponent).join('/'), search, changes);
}
