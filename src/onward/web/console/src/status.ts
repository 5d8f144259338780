// The states of a job, in the order in which it goes through them.

export const STATUSES = ['SCHEDULED', 'QUEUED', 'RUNNING', 'RETRYING', 'WAITING', 'CANCELLING', 'SUCCEEDED', 'FAILED', 'CANCELLED'] as const;
export type Status = (typeof STATUSES)[number];
export const TERMINAL: ReadonlySet<Status> = new Set(['SUCCEEDED', 'FAILED', 'CANCELLED']);
export const RETRYABLE: readonly Status[] = ['FAILED', 'CANCELLED'];

export const word = (status: string): string => status.charAt(0) + status.slice(1).toLowerCase();
