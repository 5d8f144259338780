// Made by `npm run generate` from operations/handlers.graphql; do not edit.
import type { Operation } from '../graphql';

/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
export type UserErrorCode =
  | 'INVALID'
  | 'ALREADY_EXISTS'
  | 'NOT_FOUND'
  | 'NOT_ALLOWED'
  | 'CONFLICT'
  | 'IDEMPOTENCY_KEY_REUSED'
  | 'RATE_LIMITED'
  | 'UNAVAILABLE';

export type HandlersVariables = Exact<{
  from: string;
  to: string;
  before: string;
}>;


export type Handlers = { system: { handlers: Array<string>, paused: Array<{ handler: string, since: string, by: string | null }>, limits: Array<{ handler: string, key: string | null, concurrency: number | null, starts: number | null, periodSeconds: number | null }>, waiting: Array<{ handler: string, backend: string, queue: string, depth: number, oldestAt: string | null, blocked: number }> }, now: Array<{ handler: string, enqueued: number, succeeded: number, failed: number, retried: number, wait: { p50: number | null, p95: number | null }, run: { p50: number | null, p95: number | null } }>, earlier: Array<{ handler: string, enqueued: number, succeeded: number, failed: number, retried: number, wait: { p50: number | null, p95: number | null }, run: { p50: number | null, p95: number | null } }> };

export type HandlerFigures = { handler: string, enqueued: number, succeeded: number, failed: number, retried: number, wait: { p50: number | null, p95: number | null }, run: { p50: number | null, p95: number | null } };

export type PauseHandlerVariables = Exact<{
  handler: string;
}>;


export type PauseHandler = { pauseHandler: { errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export type ResumeHandlerVariables = Exact<{
  handler: string;
}>;


export type ResumeHandler = { resumeHandler: { errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export const handlers: Operation<Handlers, HandlersVariables> = {
  text: "query handlers($from: DateTime!, $to: DateTime!, $before: DateTime!) {\n  system {\n    handlers\n    paused { handler since by }\n    limits { handler key concurrency starts periodSeconds }\n    waiting { handler backend queue depth oldestAt blocked }\n  }\n  now: stats(from: $from, to: $to) { ...HandlerFigures }\n  earlier: stats(from: $before, to: $from) { ...HandlerFigures }\n}\nfragment HandlerFigures on HandlerStats {\n  handler\n  enqueued\n  succeeded\n  failed\n  retried\n  wait { p50 p95 }\n  run { p50 p95 }\n}",
};

export const pauseHandler: Operation<PauseHandler, PauseHandlerVariables> = {
  text: "mutation pauseHandler($handler: String!) {\n  pauseHandler(input: { handler: $handler }) { errors { code message path } }\n}",
};

export const resumeHandler: Operation<ResumeHandler, ResumeHandlerVariables> = {
  text: "mutation resumeHandler($handler: String!) {\n  resumeHandler(input: { handler: $handler }) { errors { code message path } }\n}",
};
