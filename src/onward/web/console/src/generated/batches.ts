// Made by `npm run generate` from operations/batches.graphql; do not edit.
import type { Operation } from '../graphql';

/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
export type BatchState =
  | 'OPEN'
  | 'STOPPING'
  | 'CANCELLING'
  | 'RETRYING'
  | 'DONE'
  | 'STOPPED'
  | 'CANCELLED';

export type CancelBatchInput = {
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

export type RetryBatchInput = {
  id: string;
};

export type UserErrorCode =
  | 'INVALID'
  | 'ALREADY_EXISTS'
  | 'NOT_FOUND'
  | 'NOT_ALLOWED'
  | 'CONFLICT'
  | 'IDEMPOTENCY_KEY_REUSED'
  | 'RATE_LIMITED'
  | 'UNAVAILABLE';

export type BatchesVariables = Exact<{
  first: number;
  after?: string | null | undefined;
}>;


export type Batches = { batches: Array<{ id: string, state: BatchState, reason: string | null, done: boolean, total: number, canRetryBatch: boolean, createdAt: string, finishedAt: string | null, counts: Array<{ status: JobStatus, count: number }>, job: { id: string, handler: string } | null, then: { id: string, handler: string, status: JobStatus } | null }> };

export type Batch = { id: string, state: BatchState, reason: string | null, done: boolean, total: number, canRetryBatch: boolean, createdAt: string, finishedAt: string | null, counts: Array<{ status: JobStatus, count: number }>, job: { id: string, handler: string } | null, then: { id: string, handler: string, status: JobStatus } | null };

export type OneBatchVariables = Exact<{
  id: string;
}>;


export type OneBatch = { node:
    | { id: string, state: BatchState, reason: string | null, done: boolean, total: number, canRetryBatch: boolean, createdAt: string, finishedAt: string | null, counts: Array<{ status: JobStatus, count: number }>, job: { id: string, handler: string } | null, then: { id: string, handler: string, status: JobStatus } | null }
    | Record<PropertyKey, never>
   | null };

export type BatchUpdatedVariables = Exact<{
  id: string;
}>;


export type BatchUpdated = { batchUpdated: { id: string, state: BatchState, reason: string | null, done: boolean, total: number, canRetryBatch: boolean, createdAt: string, finishedAt: string | null, counts: Array<{ status: JobStatus, count: number }>, job: { id: string, handler: string } | null, then: { id: string, handler: string, status: JobStatus } | null } };

export type BatchChildrenVariables = Exact<{
  batch: string;
  status?: Array<JobStatus> | JobStatus | null | undefined;
  first: number;
  after?: string | null | undefined;
}>;


export type BatchChildren = { jobs: { nodes: Array<{ id: string, handler: string, status: JobStatus, createdAt: string, startedAt: string | null, finishedAt: string | null, reason: string | null, error: { code: string, message: string } | null }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type Child = { id: string, handler: string, status: JobStatus, createdAt: string, startedAt: string | null, finishedAt: string | null, reason: string | null, error: { code: string, message: string } | null };

export type RetryBatchVariables = Exact<{
  input: RetryBatchInput;
}>;


export type RetryBatch = { retryBatch: { batch: { id: string, state: BatchState, reason: string | null, done: boolean, total: number, canRetryBatch: boolean, createdAt: string, finishedAt: string | null, counts: Array<{ status: JobStatus, count: number }>, job: { id: string, handler: string } | null, then: { id: string, handler: string, status: JobStatus } | null } | null, errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export type CancelBatchVariables = Exact<{
  input: CancelBatchInput;
}>;


export type CancelBatch = { cancelBatch: { batch: { id: string, state: BatchState, reason: string | null, done: boolean, total: number, canRetryBatch: boolean, createdAt: string, finishedAt: string | null, counts: Array<{ status: JobStatus, count: number }>, job: { id: string, handler: string } | null, then: { id: string, handler: string, status: JobStatus } | null } | null, errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export const batches: Operation<Batches, BatchesVariables> = {
  text: "query batches($first: Int!, $after: ID) {\n  batches(first: $first, after: $after) { ...Batch }\n}\nfragment Batch on Batch {\n  id\n  state\n  reason\n  done\n  total\n  counts { status count }\n  canRetryBatch\n  job { id handler }\n  then { id handler status }\n  createdAt\n  finishedAt\n}",
};

export const oneBatch: Operation<OneBatch, OneBatchVariables> = {
  text: "query oneBatch($id: ID!) {\n  node(id: $id) { ...Batch }\n}\nfragment Batch on Batch {\n  id\n  state\n  reason\n  done\n  total\n  counts { status count }\n  canRetryBatch\n  job { id handler }\n  then { id handler status }\n  createdAt\n  finishedAt\n}",
};

export const batchUpdated: Operation<BatchUpdated, BatchUpdatedVariables> = {
  text: "subscription batchUpdated($id: ID!) {\n  batchUpdated(id: $id) { ...Batch }\n}\nfragment Batch on Batch {\n  id\n  state\n  reason\n  done\n  total\n  counts { status count }\n  canRetryBatch\n  job { id handler }\n  then { id handler status }\n  createdAt\n  finishedAt\n}",
};

export const batchChildren: Operation<BatchChildren, BatchChildrenVariables> = {
  text: "query batchChildren($batch: ID!, $status: [JobStatus!], $first: Int!, $after: String) {\n  jobs(filter: { batch: $batch, status: $status }, first: $first, after: $after) {\n    nodes { ...Child }\n    pageInfo { hasNextPage endCursor }\n  }\n}\nfragment Child on Job {\n  id\n  handler\n  status\n  createdAt\n  startedAt\n  finishedAt\n  error { code message }\n  reason\n}",
};

export const retryBatch: Operation<RetryBatch, RetryBatchVariables> = {
  text: "mutation retryBatch($input: RetryBatchInput!) {\n  retryBatch(input: $input) { batch { ...Batch } errors { code message path } }\n}\nfragment Batch on Batch {\n  id\n  state\n  reason\n  done\n  total\n  counts { status count }\n  canRetryBatch\n  job { id handler }\n  then { id handler status }\n  createdAt\n  finishedAt\n}",
};

export const cancelBatch: Operation<CancelBatch, CancelBatchVariables> = {
  text: "mutation cancelBatch($input: CancelBatchInput!) {\n  cancelBatch(input: $input) { batch { ...Batch } errors { code message path } }\n}\nfragment Batch on Batch {\n  id\n  state\n  reason\n  done\n  total\n  counts { status count }\n  canRetryBatch\n  job { id handler }\n  then { id handler status }\n  createdAt\n  finishedAt\n}",
};
