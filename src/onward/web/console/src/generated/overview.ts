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
  handler?: Array<string> | string | null | undefined;
}>;


export type Overview = { each: Array<{ handler: string, enqueued: number, succeeded: number, failed: number, cancelled: number, retried: number, wait: { p50: number | null, p95: number | null }, run: { p50: number | null, p95: number | null } }>, all: Array<{ handler: string, enqueued: number, succeeded: number, failed: number, cancelled: number, retried: number, wait: { p50: number | null, p95: number | null }, run: { p50: number | null, p95: number | null } }> };

export type Figures = { handler: string, enqueued: number, succeeded: number, failed: number, cancelled: number, retried: number, wait: { p50: number | null, p95: number | null }, run: { p50: number | null, p95: number | null } };

export type EarlierVariables = Exact<{
  from: string;
  to: string;
  handler?: Array<string> | string | null | undefined;
}>;


export type Earlier = { stats: Array<{ handler: string, run: { p95: number | null } }> };

export type ErrorsVariables = Exact<{
  from: string;
  to: string;
  handler?: Array<string> | string | null | undefined;
}>;


export type Errors = { failures: Array<{ handler: string, code: string, message: string, count: number, lastAt: string }> };

export type CourseVariables = Exact<{
  from: string;
  to: string;
  step: StatsStep;
  handler?: Array<string> | string | null | undefined;
}>;


export type Course = { stats: Array<{ from: string, enqueued: number, succeeded: number, failed: number, wait: { p50: number | null, p95: number | null }, run: { p50: number | null, p95: number | null } }> };

export type WaitingVariables = Exact<{ [key: string]: never; }>;


export type Waiting = { system: { waiting: Array<{ handler: string, backend: string, queue: string, depth: number, oldestAt: string | null, blocked: number }> } };

export const overview: Operation<Overview, OverviewVariables> = {
  text: "query overview($from: DateTime!, $to: DateTime!, $handler: [String!]) {\n  each: stats(from: $from, to: $to, handler: $handler) { ...Figures }\n  all: stats(from: $from, to: $to, handler: $handler, together: true) { ...Figures }\n}\nfragment Figures on HandlerStats {\n  handler\n  enqueued\n  succeeded\n  failed\n  cancelled\n  retried\n  wait { p50 p95 }\n  run { p50 p95 }\n}",
};

export const earlier: Operation<Earlier, EarlierVariables> = {
  text: "query earlier($from: DateTime!, $to: DateTime!, $handler: [String!]) {\n  stats(from: $from, to: $to, handler: $handler) { handler run { p95 } }\n}",
};

export const errors: Operation<Errors, ErrorsVariables> = {
  text: "query errors($from: DateTime!, $to: DateTime!, $handler: [String!]) {\n  failures(from: $from, to: $to, handler: $handler) { handler code message count lastAt }\n}",
};

export const course: Operation<Course, CourseVariables> = {
  text: "query course($from: DateTime!, $to: DateTime!, $step: StatsStep!, $handler: [String!]) {\n  stats(from: $from, to: $to, handler: $handler, step: $step, together: true) {\n    from\n    enqueued\n    succeeded\n    failed\n    wait { p50 p95 }\n    run { p50 p95 }\n  }\n}",
};

export const waiting: Operation<Waiting, WaitingVariables> = {
  text: "query waiting {\n  system { waiting { handler backend queue depth oldestAt blocked } }\n}",
};
