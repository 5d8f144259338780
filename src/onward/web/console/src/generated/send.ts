// Made by `npm run generate` from operations/send.graphql; do not edit.
import type { Operation } from '../graphql';

/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
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

export type StepStatus =
  | 'PENDING'
  | 'RUNNING'
  | 'SUCCEEDED'
  | 'FAILED'
  | 'SKIPPED'
  | 'CANCELLED';

export type SentJobVariables = Exact<{
  id: string;
}>;


export type SentJob = { job: { id: string, handler: string, status: JobStatus, done: boolean, version: number, createdAt: string, finishedAt: string | null, waitingFor: string | null, progress: { completed: number, total: number | null, message: string | null } | null, steps: Array<{ name: string, status: StepStatus }>, error: { code: string, message: string } | null } | null };

export type Sent = { id: string, handler: string, status: JobStatus, done: boolean, version: number, createdAt: string, finishedAt: string | null, waitingFor: string | null, progress: { completed: number, total: number | null, message: string | null } | null, steps: Array<{ name: string, status: StepStatus }>, error: { code: string, message: string } | null };

export type SentJobUpdatedVariables = Exact<{
  id: string;
}>;


export type SentJobUpdated = { jobUpdated: { id: string, handler: string, status: JobStatus, done: boolean, version: number, createdAt: string, finishedAt: string | null, waitingFor: string | null, progress: { completed: number, total: number | null, message: string | null } | null, steps: Array<{ name: string, status: StepStatus }>, error: { code: string, message: string } | null } };

export const sentJob: Operation<SentJob, SentJobVariables> = {
  text: "query sentJob($id: ID!) {\n  job(id: $id) { ...Sent }\n}\nfragment Sent on Job {\n  id\n  handler\n  status\n  done\n  version\n  createdAt\n  finishedAt\n  waitingFor\n  progress { completed total message }\n  steps { name status }\n  error { code message }\n}",
};

export const sentJobUpdated: Operation<SentJobUpdated, SentJobUpdatedVariables> = {
  text: "subscription sentJobUpdated($id: ID!) {\n  jobUpdated(id: $id) { ...Sent }\n}\nfragment Sent on Job {\n  id\n  handler\n  status\n  done\n  version\n  createdAt\n  finishedAt\n  waitingFor\n  progress { completed total message }\n  steps { name status }\n  error { code message }\n}",
};
