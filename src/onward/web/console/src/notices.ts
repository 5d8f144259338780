// Words for everyone on the page: errors in one line at its top, and outcomes for screen readers.
import { Store } from './store';

export const notices = new Store<ReadonlyMap<string, string>>(new Map());
export const announced = new Store('');

// Each cause is shown once, and removed when it is over (null).
export function notice(cause: string, words: string | null | undefined): void {
  if ((notices.value.get(cause) ?? null) === (words ?? null)) return;
  const next = new Map(notices.value);
  if (words) next.set(cause, words);
  else next.delete(cause);
  notices.set(next);
}

export const announce = (text: string): void => announced.set(text);
