// The bearer token, kept for this tab alone and never put into an address.
import { Store } from './store';

const KEY = 'onward:token';

export const token = new Store(sessionStorage.getItem(KEY) ?? '');

export function setToken(value: string): void {
  const bare = value.trim().replace(/^bearer\s+/i, '');
  if (bare) sessionStorage.setItem(KEY, bare);
  else sessionStorage.removeItem(KEY);
  token.set(bare);
}

// The same words for a request's headers and for the payload of connection_init.
export const credentials = (): Record<string, string> => (token.value ? { Authorization: `Bearer ${token.value}` } : {});
