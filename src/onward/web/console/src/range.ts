// The time that figures are of: the last hour, day or week. It moves on with each step, so that a reload shows the same.
import { serverNow } from './graphql';
import { href, useRoute } from './route';
import type { StatsStep } from './generated/overview';

export type RangeName = 'hour' | 'day' | 'week';
export interface Range { name: RangeName; from: string; to: string; before: string; step: StatsStep; stepMs: number }

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const SPANS: Record<RangeName, { ms: number; step: StatsStep; stepMs: number }> = {
  hour: { ms: HOUR, step: 'MINUTE', stepMs: MINUTE },
  day: { ms: 24 * HOUR, step: 'HOUR', stepMs: HOUR },
  week: { ms: 7 * 24 * HOUR, step: 'HOUR', stepMs: HOUR },
};
export const RANGES = Object.keys(SPANS) as RangeName[];

// `before` is the begin of the time before, which is as long.
export function rangeOf(name: RangeName, now: number): Range {
  const { ms, step, stepMs } = SPANS[name];
  const to = (Math.floor(now / stepMs) + 1) * stepMs;
  const iso = (time: number) => new Date(time).toISOString();
  return { name, from: iso(to - ms), to: iso(to), before: iso(to - 2 * ms), step, stepMs };
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

// The present page with another value in its address.
export function withSearch(path: string, search: URLSearchParams, changes: Record<string, string>): string {
  const known = Object.fromEntries([...new Set(search.keys())].map((name) => [name, search.getAll(name)]));
  return href(path, { ...known, ...changes });
}

