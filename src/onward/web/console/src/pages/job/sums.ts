// The attempts of a job in one line.
import { between, length } from '../../format';
import type { Whole } from '../../generated/job';

// All attempts together: between two of them the job may have waited for long, for a person above all.
export function took({ attempts: all }: Pick<Whole, 'attempts'>): string {
  const ms = all.reduce((sum, { startedAt, finishedAt }) => sum + (finishedAt ? between(startedAt, finishedAt) : 0), 0);
  return all.length > 1 ? `${length(ms)} in ${all.length} attempts` : length(ms);
}

// A retry by hand begins a new allowance. The server charges an attempt at its end; one that runs is shown as charged.
export function attempts({ chargedAttempts, maxAttempts, attempts: all }: Pick<Whole, 'attempts' | 'chargedAttempts' | 'maxAttempts'>): string {
  const charged = all.filter((one) => one.charged).length;
  const since = chargedAttempts + all.filter((one) => !one.finishedAt).length;
  return `${since} of at most ${maxAttempts}${charged > since ? ` since it was retried by hand, ${charged} in all` : ''}`;
}
