// The rows of the page of handlers, made of the server's answer.
import { count, plural } from './format';
import type { Handlers } from './generated/handlers';

type System = Handlers['system'];
type Queue = System['waiting'][number];
type Figures = Handlers['now'][number];
export type Limit = System['limits'][number];

export interface Row {
  handler: string;
  known: boolean; // false: of another release, for as long as it is paused or jobs of it wait
  pause: System['paused'][number] | null;
  limits: readonly Limit[];
  depth: number;
  oldestAt: string | null;
  blocked: number;
  now: Figures | null;
  earlier: Figures | null;
}

export const SORTS = { name: 'Name', waiting: 'Waiting', failed: 'Failed', slow: 'Slow', slower: 'Slower' } as const;
export type Sort = keyof typeof SORTS;

const SLOWER = 1.25; // twice the error of a percentile, and more
const UNITS: Record<number, string> = { 1: 'second', 60: 'minute', 3_600: 'hour', 86_400: 'day' };

export function rowsOf({ system, now, earlier }: Handlers): Row[] {
  const known = new Set(system.handlers);
  const pauses = new Map(system.paused.map((pause) => [pause.handler, pause]));
  const [figures, before] = [now, earlier].map((rows) => new Map(rows.map((row) => [row.handler, row])));
  const names = new Set([...known, ...pauses.keys(), ...system.waiting.map(({ handler }) => handler)]);
  return [...names].sort().map((handler) => {
    const waiting = system.waiting.filter((one) => one.handler === handler);
    const due = waiting.flatMap(({ oldestAt }) => oldestAt ?? []).sort();
    return {
      handler,
      known: known.has(handler),
      pause: pauses.get(handler) ?? null,
      limits: system.limits.filter((limit) => limit.handler === handler),
      depth: waiting.reduce((sum, { depth }) => sum + depth, 0),
      oldestAt: due[0] ?? null,
      blocked: waiting.reduce((sum, { blocked }) => sum + blocked, 0),
      now: figures?.get(handler) ?? null,
      earlier: before?.get(handler) ?? null,
    };
  });
}

// Those whose jobs are all held back come last.
export function oldestFirst(rows: readonly Queue[]): Queue[] {
  const at = ({ oldestAt }: Queue) => (oldestAt === null ? Number.MAX_VALUE : Date.parse(oldestAt));
  return [...rows].sort((a, b) => at(a) - at(b));
}

// The run time as a factor of the time before; 1 if one of the two is unknown.
export function change({ now, earlier }: Row): number {
  return now?.run.p95 && earlier?.run.p95 ? now.run.p95 / earlier.run.p95 : 1;
}

export const isSlower = (row: Row): boolean => change(row) >= SLOWER;

export function sorted(rows: readonly Row[], by: Sort): Row[] {
  const size: Record<Sort, (row: Row) => number> = {
    name: () => 0,
    waiting: ({ depth, blocked }) => depth + blocked,
    failed: ({ now }) => now?.failed ?? 0,
    slow: ({ now }) => now?.run.p95 ?? 0,
    slower: change,
  };
  return [...rows].sort((a, b) => size[by](b) - size[by](a)); // by name where they are equal
}

// "3 at once, 100 per minute, for each crm"
export function limitText({ key, concurrency, starts, periodSeconds }: Limit): string {
  const unit = UNITS[periodSeconds ?? 0] ?? plural(periodSeconds ?? 0, 'second');
  const parts = [concurrency === null ? '' : `${count(concurrency)} at once`, starts === null ? '' : `${count(starts)} per ${unit}`];
  return `${parts.filter(Boolean).join(', ')}${key === null ? '' : `, for each ${key}`}`;
}
