// Made by `npm run generate` from operations/shell.graphql; do not edit.
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

export type ShellVariables = Exact<{ [key: string]: never; }>;


export type Shell = { system: { version: string, backend: string, handlers: Array<string>, counts: Array<{ status: JobStatus, count: number }>, queues: Array<{ backend: string, queue: string, reachable: boolean, depth: number | null, oldestAgeMs: number | null }>, paused: Array<{ handler: string, since: string, by: string | null }>, mailed: Array<{ id: string }> | null }, viewer: { id: string | null, roles: Array<string> } };

export const shell: Operation<Shell, ShellVariables> = {
  text: "query shell {\n  system {\n    version\n    backend\n    handlers\n    counts { status count }\n    queues { backend queue reachable depth oldestAgeMs }\n    paused { handler since by }\n    mailed: letters(first: 0) { id }\n  }\n  viewer { id roles }\n}",
};
