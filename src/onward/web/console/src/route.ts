// Where the page is, kept in the address after the #, so that Back works and a view can be sent to somebody.
import { parseRoute, type Route } from './address';
import { Store, useStore } from './store';

export { href, toJob } from './address';

export const route = new Store(parseRoute(location.hash));
export const useRoute = (): Route => useStore(route);

addEventListener('hashchange', () => {
  if (!location.hash || location.hash.startsWith('#/')) route.set(parseRoute(location.hash)); // else the skip link
});

export function go(to: string, { replace = false } = {}): void {
  if (to === (location.hash || '#/')) return;
  if (replace) location.replace(to);
  else location.hash = to;
}
