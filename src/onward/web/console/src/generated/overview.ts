// Made by `npm run generate` from operations/overview.graphql; do not edit.
import type { Operation } from '../graphql';

/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
export type StatsStep =
  | 'MINUTE'
  | 'HOUR'
  | 'DAY'
  | 'TOTAL';

export type OverviewVariables = Exact<{
  from: string;
  to: string;
  step: StatsStep;
}>;


export type Overview = { total: Array<{ handler: string, from: string, to: string, enqueued: number, started: number, succeeded: number, failed: number, cancelled: number, retried: number, wait: { p50: number | null, p95: number | null, p99: number | null }, run: { p50: number | null, p95: number | null, p99: number | null } }>, course: Array<{ handler: string, from: string, enqueued: number, succeeded: number, failed: number, retried: number }>, failures: Array<{ handler: string, code: string, message: string, count: number, lastAt: string }> };

export type Figures = { handler: string, from: string, to: string, enqueued: number, started: number, succeeded: number, failed: number, cancelled: number, retried: number, wait: { p50: number | null, p95: number | null, p99: number | null }, run: { p50: number | null, p95: number | null, p99: number | null } };

export const overview: Operation<Overview, OverviewVariables> = {
  text: "query overview($from: DateTime!, $to: DateTime!, $step: StatsStep!) {\n  total: stats(from: $from, to: $to) { ...Figures }\n  course: stats(from: $from, to: $to, step: $step) { handler from enqueued succeeded failed retried }\n  failures(from: $from, to: $to) { handler code message count lastAt }\n}\nfragment Figures on HandlerStats {\n  handler\n  from\n  to\n  enqueued\n  started\n  succeeded\n  failed\n  cancelled\n  retried\n  wait { p50 p95 p99 }\n  run { p50 p95 p99 }\n}",
};
