// Made by `npm run generate` from operations/workers.graphql; do not edit.
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

export type WorkersVariables = Exact<{ [key: string]: never; }>;


export type Workers = { workers: Array<{ id: string, name: string, role: string, version: string, startedAt: string, running: number, memoryBytes: number | null, queues: Array<string> | null, draining: boolean, jobs: Array<{ id: string, handler: string, attempts: Array<{ startedAt: string }> }> }>, system: { version: string } };

export type DrainWorkerVariables = Exact<{
  id: string;
}>;


export type DrainWorker = { drainWorker: { worker: { id: string, draining: boolean } | null, errors: Array<{ code: UserErrorCode, message: string, path: Array<string> | null }> } | null };

export const workers: Operation<Workers, WorkersVariables> = {
  text: "query workers {\n  workers {\n    id name role version startedAt running memoryBytes queues draining\n    jobs(first: 5) { id handler attempts { startedAt } }\n  }\n  system { version }\n}",
};

export const drainWorker: Operation<DrainWorker, DrainWorkerVariables> = {
  text: "mutation drainWorker($id: ID!) {\n  drainWorker(input: { id: $id }) { worker { id draining } errors { code message path } }\n}",
};
