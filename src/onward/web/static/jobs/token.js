// The bearer token, kept for this tab alone and never put into an address.

const KEY = 'onward:token';
const listeners = new Set();

export const token = () => sessionStorage.getItem(KEY) ?? '';

export function setToken(value) {
  const bare = value.trim().replace(/^bearer\s+/i, '');
  if (bare) sessionStorage.setItem(KEY, bare);
  else sessionStorage.removeItem(KEY);
  for (const listener of listeners) listener();
}

export const onToken = (listener) => listeners.add(listener);

// The same words for a request's headers and for the payload of connection_init.
export const credentials = () => (token() ? { Authorization: `Bearer ${token()}` } : {});
