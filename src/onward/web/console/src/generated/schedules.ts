// Made by `npm run generate` from operations/schedules.graphql; do not edit.
import type { Operation } from '../graphql';

/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
export type CreateScheduleInput = {
  name: string;
  handler: string;
  params?: unknown;
  cron: string;
  timeZone?: string | null | undefined;
  overlap?: ScheduleOverlap | null | undefined;
  missed?: ScheduleMissed | null | undefined;
};

export type JobStatus =
  | 'SCHEDULED'
  | 'QUEUED'
  | 'RUNNING'
  | 'RETRYING'
  | 'WAITING'
  | 'CANCELLING'
  | 'SUCCEEDED'
  | 'FAILED'
  | 'CANCELLED';

export type ScheduleMissed =
  | 'SKIP'
  | 'RUN_ONCE';

export type ScheduleOverlap =
  | 'ALLOW'
  | 'SKIP'
  | 'CANCEL_LAST';

export type UserErrorCode =
  | 'INVALID'
  | 'ALREADY_EXISTS'
  | 'NOT_FOUND'
  | 'NOT_ALLOWED'
  | 'CONFLICT'
  | 'IDEMPOTENCY_KEY_REUSED'
  | 'RATE_LIMITED'
  | 'UNAVAILABLE';

export type SchedulesVariables = Exact<{
  after: string;
}>;


export type Schedules = { system: { handlers: Array<string>, schedules: Array<{ name: string, handler: string, cron: string, timeZone: string, overlap: ScheduleOverlap, missed: ScheduleMissed, fromSettings: boolean, madeAt: string | null, madeBy: string | null, nextAt: string | null, upcoming: Array<string>, pausedAt: string | null, pausedBy: string | null, lastAt: string | null, skippedAt: string | null, problem: string | null, lastJob: { id: string, status: JobStatus } | null }> } };

export type CreateScheduleVariables = Exact<{
  input: CreateScheduleInput;
}>;


export type CreateSchedule = { createSchedule: { errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export type PauseScheduleVariables = Exact<{
  name: string;
}>;


export type PauseSchedule = { pauseSchedule: { errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export type ResumeScheduleVariables = Exact<{
  name: string;
}>;


export type ResumeSchedule = { resumeSchedule: { errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export type RunScheduleVariables = Exact<{
  name: string;
}>;


export type RunSchedule = { runSchedule: { job: { id: string } | null, errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export type DeleteScheduleVariables = Exact<{
  name: string;
}>;


export type DeleteSchedule = { deleteSchedule: { errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export const schedules: Operation<Schedules, SchedulesVariables> = {
  text: "query schedules($after: String!) {\n  system {\n    handlers\n    schedules(first: 100, after: $after) {\n      name\n      handler\n      cron\n      timeZone\n      overlap\n      missed\n      fromSettings\n      madeAt\n      madeBy\n      nextAt\n      upcoming\n      pausedAt\n      pausedBy\n      lastAt\n      lastJob { id status }\n      skippedAt\n      problem\n    }\n  }\n}",
};

export const createSchedule: Operation<CreateSchedule, CreateScheduleVariables> = {
  text: "mutation createSchedule($input: CreateScheduleInput!) {\n  createSchedule(input: $input) { errors { code message path } }\n}",
};

export const pauseSchedule: Operation<PauseSchedule, PauseScheduleVariables> = {
  text: "mutation pauseSchedule($name: String!) {\n  pauseSchedule(input: { name: $name }) { errors { code message path } }\n}",
};

export const resumeSchedule: Operation<ResumeSchedule, ResumeScheduleVariables> = {
  text: "mutation resumeSchedule($name: String!) {\n  resumeSchedule(input: { name: $name }) { errors { code message path } }\n}",
};

export const runSchedule: Operation<RunSchedule, RunScheduleVariables> = {
  text: "mutation runSchedule($name: String!) {\n  runSchedule(input: { name: $name }) { job { id } errors { code message path } }\n}",
};

export const deleteSchedule: Operation<DeleteSchedule, DeleteScheduleVariables> = {
  text: "mutation deleteSchedule($name: String!) {\n  deleteSchedule(input: { name: $name }) { errors { code message path } }\n}",
};
