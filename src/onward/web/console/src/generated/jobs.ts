// Made by `npm run generate` from operations/jobs.graphql; do not edit.
import type { Operation } from '../graphql';

/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
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

export type JobsVariables = Exact<{
  first?: number | null | undefined;
  after?: string | null | undefined;
  last?: number | null | undefined;
  before?: string | null | undefined;
  filter?: JobFilter | null | undefined;
}>;


export type Jobs = { jobs: { nodes: Array<{ waitingFor: string | null, id: string, handler: string, status: JobStatus, version: number, done: boolean, backend: string, owner: string | null, createdAt: string, runAt: string | null, startedAt: string | null, finishedAt: string | null, reason: string | null, progress: { completed: number, total: number | null, message: string | null } | null, error: { code: string, message: string } | null }>, pageInfo: { hasNextPage: boolean, hasPreviousPage: boolean, startCursor: string | null, endCursor: string | null } } };

export type Row = { id: string, handler: string, status: JobStatus, version: number, done: boolean, backend: string, owner: string | null, createdAt: string, runAt: string | null, startedAt: string | null, finishedAt: string | null, reason: string | null, progress: { completed: number, total: number | null, message: string | null } | null, error: { code: string, message: string } | null };

export type JobsUpdatedVariables = Exact<{
  filter?: JobFilter | null | undefined;
}>;


export type JobsUpdated = { jobsUpdated: { id: string, handler: string, status: JobStatus, version: number, done: boolean, backend: string, owner: string | null, createdAt: string, runAt: string | null, startedAt: string | null, finishedAt: string | null, reason: string | null, progress: { completed: number, total: number | null, message: string | null } | null, error: { code: string, message: string } | null } };

export const jobs: Operation<Jobs, JobsVariables> = {
  text: "query jobs($first: Int, $after: String, $last: Int, $before: String, $filter: JobFilter) {\n  jobs(first: $first, after: $after, last: $last, before: $before, filter: $filter) {\n    nodes { ...Row waitingFor }\n    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }\n  }\n}\nfragment Row on Job {\n  id\n  handler\n  status\n  version\n  done\n  backend\n  owner\n  createdAt\n  runAt\n  startedAt\n  finishedAt\n  progress { completed total message }\n  error { code message }\n  reason\n}",
};

export const jobsUpdated: Operation<JobsUpdated, JobsUpdatedVariables> = {
  text: "subscription jobsUpdated($filter: JobFilter) {\n  jobsUpdated(filter: $filter) { ...Row }\n}\nfragment Row on Job {\n  id\n  handler\n  status\n  version\n  done\n  backend\n  owner\n  createdAt\n  runAt\n  startedAt\n  finishedAt\n  progress { completed total message }\n  error { code message }\n  reason\n}",
};
