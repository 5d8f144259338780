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

// The filter of a command: of the jobs that it can change, those that are so now.
export function narrowed(kind: Kind, filter: Filter, now: number): Filter {
  const status = filter.status?.length ? filter.status.filter((one) => ABLE[kind].includes(one)) : [...ABLE[kind]];
  const time = kind === 'retry' ? 'finishedBefore' : 'createdBefore';
  return { ...filter, status, [time]: filter[time] ?? new Date(now + SLACK_MS).toISOString() };
}

export interface Piece { count: number; endCursor: string | null; errors: readonly UserError[] }
export interface Outcome { done: number; left: number; error: string | null }

// Sends pieces until as many jobs as were counted are changed, none is left, `stopped` says so, or the server refuses. Each
// goes on behind the one before: no job is looked at twice, and those that cannot be changed hold up no others.
export async function inPieces(
  counted: number, send: (limit: number, after: string | null) => Promise<Piece>, progressed: (done: number) => void, stopped: () => boolean,
): Promise<Outcome> {
  let done = 0;
  let after: string | null = null;
  while (done < counted && !stopped()) {
    const { count, errors, endCursor }: Piece = await send(Math.min(PIECE, counted - done), after);
    done += count;
    progressed(done);
    const refused = errors.find(({ code }) => code !== 'UNAVAILABLE' || endCursor === after); // its time was over: what is left comes next
    if (refused) return { done, left: counted - done, error: refused.message };
    if (!endCursor) break;
    after = endCursor;
  }
  return { done, left: counted - done, error: null };
}
