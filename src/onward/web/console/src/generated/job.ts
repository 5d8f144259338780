// Made by `npm run generate` from operations/job.graphql; do not edit.
import type { Operation } from '../graphql';

/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
export type CancelJobInput = {
  id: string;
  reason?: string | null | undefined;
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

export type LogLevel =
  | 'DEBUG'
  | 'INFO'
  | 'WARNING'
  | 'ERROR'
  | 'CRITICAL';

export type RetryJobInput = {
  id: string;
  fromStart?: boolean;
};

export type SignalJobInput = {
  id: string;
  name: string;
  payload?: unknown;
  idempotencyKey?: string | null | undefined;
};

export type StepStatus =
  | 'PENDING'
  | 'RUNNING'
  | 'SUCCEEDED'
  | 'FAILED'
  | 'SKIPPED'
  | 'CANCELLED';

export type UserErrorCode =
  | 'INVALID'
  | 'ALREADY_EXISTS'
  | 'NOT_FOUND'
  | 'NOT_ALLOWED'
  | 'CONFLICT'
  | 'IDEMPOTENCY_KEY_REUSED'
  | 'RATE_LIMITED'
  | 'UNAVAILABLE';

export type JobVariables = Exact<{
  id: string;
}>;


export type Job = { job: { queue: string, expiresAt: string | null, limitKey: string | null, waitingFor: string | null, maxAttempts: number, chargedAttempts: number, result: unknown, canCancel: boolean, canRetry: boolean, id: string, handler: string, status: JobStatus, version: number, done: boolean, backend: string, owner: string | null, createdAt: string, runAt: string | null, startedAt: string | null, finishedAt: string | null, reason: string | null, wait: { name: string, since: string, until: string | null, schema: unknown } | null, error: { code: string, message: string, retryable: boolean, step: string | null, occurredAt: string } | null, parent: { id: string, handler: string } | null, batch: { id: string, done: boolean, total: number, counts: Array<{ status: JobStatus, count: number }> } | null, steps: Array<{ name: string, index: number, status: StepStatus, startedAt: string | null, finishedAt: string | null, result: unknown }>, attempts: Array<{ number: number, charged: boolean, backend: string, worker: string, startedAt: string, finishedAt: string | null, error: { code: string, message: string, retryable: boolean, step: string | null } | null }>, progress: { completed: number, total: number | null, message: string | null } | null } | null };

export type Whole = { queue: string, expiresAt: string | null, limitKey: string | null, waitingFor: string | null, maxAttempts: number, chargedAttempts: number, result: unknown, canCancel: boolean, canRetry: boolean, id: string, handler: string, status: JobStatus, version: number, done: boolean, backend: string, owner: string | null, createdAt: string, runAt: string | null, startedAt: string | null, finishedAt: string | null, reason: string | null, wait: { name: string, since: string, until: string | null, schema: unknown } | null, error: { code: string, message: string, retryable: boolean, step: string | null, occurredAt: string } | null, parent: { id: string, handler: string } | null, batch: { id: string, done: boolean, total: number, counts: Array<{ status: JobStatus, count: number }> } | null, steps: Array<{ name: string, index: number, status: StepStatus, startedAt: string | null, finishedAt: string | null, result: unknown }>, attempts: Array<{ number: number, charged: boolean, backend: string, worker: string, startedAt: string, finishedAt: string | null, error: { code: string, message: string, retryable: boolean, step: string | null } | null }>, progress: { completed: number, total: number | null, message: string | null } | null };

export type Row = { id: string, handler: string, status: JobStatus, version: number, done: boolean, backend: string, owner: string | null, createdAt: string, runAt: string | null, startedAt: string | null, finishedAt: string | null, reason: string | null, progress: { completed: number, total: number | null, message: string | null } | null, error: { code: string, message: string } | null };

export type ChildrenVariables = Exact<{
  id: string;
}>;


export type Children = { job: { children: { nodes: Array<{ id: string, handler: string, status: JobStatus, version: number, done: boolean, backend: string, owner: string | null, createdAt: string, runAt: string | null, startedAt: string | null, finishedAt: string | null, reason: string | null, progress: { completed: number, total: number | null, message: string | null } | null, error: { code: string, message: string } | null }>, pageInfo: { hasNextPage: boolean } } } | null };

export type SendAgainVariables = Exact<{
  id: string;
}>;


export type SendAgain = { job: { sendAgain: { mutation: string, input: unknown, secret: Array<string> } | null } | null };

export type JobLogVariables = Exact<{
  id: string;
  last: number;
}>;


export type JobLog = { job: { logLines: Array<{ time: string, level: LogLevel, attempt: number, step: string, text: string }> | null } | null };

export type JobUpdatedVariables = Exact<{
  id: string;
}>;


export type JobUpdated = { jobUpdated: { queue: string, expiresAt: string | null, limitKey: string | null, waitingFor: string | null, maxAttempts: number, chargedAttempts: number, result: unknown, canCancel: boolean, canRetry: boolean, id: string, handler: string, status: JobStatus, version: number, done: boolean, backend: string, owner: string | null, createdAt: string, runAt: string | null, startedAt: string | null, finishedAt: string | null, reason: string | null, wait: { name: string, since: string, until: string | null, schema: unknown } | null, error: { code: string, message: string, retryable: boolean, step: string | null, occurredAt: string } | null, parent: { id: string, handler: string } | null, batch: { id: string, done: boolean, total: number, counts: Array<{ status: JobStatus, count: number }> } | null, steps: Array<{ name: string, index: number, status: StepStatus, startedAt: string | null, finishedAt: string | null, result: unknown }>, attempts: Array<{ number: number, charged: boolean, backend: string, worker: string, startedAt: string, finishedAt: string | null, error: { code: string, message: string, retryable: boolean, step: string | null } | null }>, progress: { completed: number, total: number | null, message: string | null } | null } };

export type JobOutputVariables = Exact<{
  id: string;
  after?: number | null | undefined;
}>;


export type JobOutput = { jobOutput: { offset: number, attempt: number, step: string, data: unknown } };

export type CancelJobVariables = Exact<{
  input: CancelJobInput;
}>;


export type CancelJob = { cancelJob: { job: { id: string } | null, errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export type RetryJobVariables = Exact<{
  input: RetryJobInput;
}>;


export type RetryJob = { retryJob: { job: { id: string } | null, errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export type SignalJobVariables = Exact<{
  input: SignalJobInput;
}>;


export type SignalJob = { signalJob: { job: { id: string } | null, errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export const job: Operation<Job, JobVariables> = {
  text: "query job($id: ID!) {\n  job(id: $id) { ...Whole }\n}\nfragment Whole on Job {\n  ...Row\n  queue\n  expiresAt\n  limitKey\n  waitingFor\n  maxAttempts\n  chargedAttempts\n  result\n  canCancel\n  canRetry\n  wait { name since until schema }\n  error { code message retryable step occurredAt }\n  parent { id handler }\n  batch { id done total counts { status count } }\n  steps { name index status startedAt finishedAt result }\n  attempts {\n    number\n    charged\n    backend\n    worker\n    startedAt\n    finishedAt\n    error { code message retryable step }\n  }\n}\nfragment Row on Job {\n  id\n  handler\n  status\n  version\n  done\n  backend\n  owner\n  createdAt\n  runAt\n  startedAt\n  finishedAt\n  progress { completed total message }\n  error { code message }\n  reason\n}",
};

export const children: Operation<Children, ChildrenVariables> = {
  text: "query children($id: ID!) {\n  job(id: $id) {\n    children(first: 50) {\n      nodes { ...Row }\n      pageInfo { hasNextPage }\n    }\n  }\n}\nfragment Row on Job {\n  id\n  handler\n  status\n  version\n  done\n  backend\n  owner\n  createdAt\n  runAt\n  startedAt\n  finishedAt\n  progress { completed total message }\n  error { code message }\n  reason\n}",
};

export const sendAgain: Operation<SendAgain, SendAgainVariables> = {
  text: "query sendAgain($id: ID!) {\n  job(id: $id) {\n    sendAgain { mutation input secret }\n  }\n}",
};

export const jobLog: Operation<JobLog, JobLogVariables> = {
  text: "query jobLog($id: ID!, $last: Int!) {\n  job(id: $id) {\n    logLines(last: $last) { time level attempt step text }\n  }\n}",
};

export const jobUpdated: Operation<JobUpdated, JobUpdatedVariables> = {
  text: "subscription jobUpdated($id: ID!) {\n  jobUpdated(id: $id) { ...Whole }\n}\nfragment Whole on Job {\n  ...Row\n  queue\n  expiresAt\n  limitKey\n  waitingFor\n  maxAttempts\n  chargedAttempts\n  result\n  canCancel\n  canRetry\n  wait { name since until schema }\n  error { code message retryable step occurredAt }\n  parent { id handler }\n  batch { id done total counts { status count } }\n  steps { name index status startedAt finishedAt result }\n  attempts {\n    number\n    charged\n    backend\n    worker\n    startedAt\n    finishedAt\n    error { code message retryable step }\n  }\n}\nfragment Row on Job {\n  id\n  handler\n  status\n  version\n  done\n  backend\n  owner\n  createdAt\n  runAt\n  startedAt\n  finishedAt\n  progress { completed total message }\n  error { code message }\n  reason\n}",
};

export const jobOutput: Operation<JobOutput, JobOutputVariables> = {
  text: "subscription jobOutput($id: ID!, $after: Int) {\n  jobOutput(id: $id, after: $after) { offset attempt step data }\n}",
};

export const cancelJob: Operation<CancelJob, CancelJobVariables> = {
  text: "mutation cancelJob($input: CancelJobInput!) {\n  cancelJob(input: $input) {\n    job { id }\n    errors { code message path }\n  }\n}",
};

export const retryJob: Operation<RetryJob, RetryJobVariables> = {
  text: "mutation retryJob($input: RetryJobInput!) {\n  retryJob(input: $input) {\n    job { id }\n    errors { code message path }\n  }\n}",
};

export const signalJob: Operation<SignalJob, SignalJobVariables> = {
  text: "mutation signalJob($input: SignalJobInput!) {\n  signalJob(input: $input) {\n    job { id }\n    errors { code message path }\n  }\n}",
};
