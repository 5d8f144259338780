// Made by `npm run generate` from operations/bulk.graphql; do not edit.
import type { Operation } from '../graphql';

/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
export type CancelJobsInput = {
  filter: JobFilter;
  limit?: number;
  after?: string | null | undefined;
};

export type JobFilter = {
  status?: Array<JobStatus> | null | undefined;
  handler?: Array<string> | null | undefined;
  createdAfter?: string | null | undefined;
  createdBefore?: string | null | undefined;
  owner?: string | null | undefined;
  errorCode?: Array<string> | null | undefined;
  errorMessage?: string | null | undefined;
  finishedAfter?: string | null | undefined;
  finishedBefore?: string | null | undefined;
  batch?: string | null | undefined;
  runAfter?: string | null | undefined;
  runBefore?: string | null | undefined;
  params?: Array<JobParamFilter> | null | undefined;
};

export type JobParamFilter = {
  name: string;
  values: Array<unknown>;
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

export type RetryJobsInput = {
  filter: JobFilter;
  limit?: number;
  after?: string | null | undefined;
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

export type CountJobsVariables = Exact<{
  filter: JobFilter;
  limit: number;
}>;


export type CountJobs = { jobCount: number };

export type RetryManyVariables = Exact<{
  input: RetryJobsInput;
}>;


export type RetryMany = { retryJobs: { count: number, endCursor: string | null, errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export type CancelManyVariables = Exact<{
  input: CancelJobsInput;
}>;


export type CancelMany = { cancelJobs: { count: number, endCursor: string | null, errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export const countJobs: Operation<CountJobs, CountJobsVariables> = {
  text: "query countJobs($filter: JobFilter!, $limit: Int!) {\n  jobCount(filter: $filter, limit: $limit)\n}",
};

export const retryMany: Operation<RetryMany, RetryManyVariables> = {
  text: "mutation retryMany($input: RetryJobsInput!) {\n  retryJobs(input: $input) { count endCursor errors { code message path } }\n}",
};

export const cancelMany: Operation<CancelMany, CancelManyVariables> = {
  text: "mutation cancelMany($input: CancelJobsInput!) {\n  cancelJobs(input: $input) { count endCursor errors { code message path } }\n}",
};
