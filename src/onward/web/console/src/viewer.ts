// The server as this viewer sees it, asked for every few seconds, and who the viewer is.
import { useStore, Store } from './store';
import type { Shell } from './generated/shell';

export interface Viewer {
  id: string | null;
  roles: readonly string[];
  admin: boolean;
  refused: boolean; // nobody: the server wants to know who asks, and was not told
}

export const system = new Store<Shell['system'] | null>(null);
export const viewer = new Store<Viewer | null>(null);

export const useSystem = (): Shell['system'] | null => useStore(system);
export const useViewer = (): Viewer | null => useStore(viewer);

export function tell({ system: told, viewer: { id, roles } }: Shell): void {
  system.set(told);
  const before = viewer.value;
  if (before && before.id === id && before.roles.join() === roles.join()) return; // the same person: nothing is drawn anew
  viewer.set({ id, roles, admin: roles.includes('admin'), refused: !id && !roles.length });
}

export function refuse(): void {
  if (!viewer.value?.refused) viewer.set({ id: null, roles: [], admin: false, refused: true });
}
