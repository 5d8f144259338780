// A bulk command in pieces: each is one mutation of a few seconds at most, so that its progress is seen, and it can be stopped.
import type { CountJobsVariables } from './generated/bulk';
import type { UserError } from './graphql';
import { RETRYABLE, STATUSES, TERMINAL, type Status } from './status';

export type Filter = CountJobsVariables['filter'];
export type Kind = 'retry' | 'cancel';

export const PIECE = 200;
const SLACK_MS = 2_000; // `now` is by the header Date, whose seconds are whole, and may be those before
const ABLE: Record<Kind, readonly Status[]> = {
  retry: RETRYABLE,
  cancel: STATUSES.filter((status) => !TERMINAL.has(status) && status !== 'CANCELLING'),
};

// The filter of a command: of the jobs that it can change, those that are so now. One that fails again meanwhile is not retried twice.
export function narrowed(kind: Kind, filter: Filter, now: number): Filter {
  const status = filter.status?.length ? filter.status.filter((one) => ABLE[kind].includes(one)) : [...ABLE[kind]];
  const time = kind === 'retry' ? 'finishedBefore' : 'createdBefore';
  return { ...filter, status, [time]: filter[time] ?? new Date(now + SLACK_MS).toISOString() };
}

export interface Piece { count: number; errors: readonly UserError[] }
export interface Outcome { done: number; left: number; error: string | null }

// Sends pieces until as many jobs as were counted are changed, none is left, `stopped` says so, or the server refuses.
export async function inPieces(
  counted: number, send: (limit: number) => Promise<Piece>, progressed: (done: number) => void, stopped: () => boolean,
): Promise<Outcome> {
  let done = 0;
  while (done < counted && !stopped()) {
    const { count, errors } = await send(Math.min(PIECE, counted - done));
    done += count;
    progressed(done);
    const refused = errors.find(({ code }) => code !== 'UNAVAILABLE' || !count); // its time was over: what is left comes next
    if (refused) return { done, left: counted - done, error: refused.message };
    if (!count) break;
  }
  return { done, left: counted - done, error: null };
}
