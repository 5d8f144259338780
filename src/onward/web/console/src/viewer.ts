// The server as this viewer sees it, asked for every few seconds, and who the viewer is.
import { useStore, Store } from './store';
import type { Shell } from './generated/shell';

export interface Viewer {
  id: string | null;
  roles: readonly string[];
  admin: boolean;
  refused: boolean; // the server wants to know who asks, and was not told; the rest is of the viewer before, if there was one
}

export const system = new Store<Shell['system'] | null>(null);
export const viewer = new Store<Viewer | null>(null);
export const person = new Store(0); // another number for each viewer who takes the place of another one

export const useSystem = (): Shell['system'] | null => useStore(system);
export const useViewer = (): Viewer | null => useStore(viewer);

export function tell({ system: told, viewer: { id, roles } }: Shell): void {
  system.set(told);
  if (!id && !roles.length) {
    refuse();
    return;
  }
  const before = viewer.value;
  if (before && !before.refused && before.id === id && before.roles.join() === roles.join()) return; // the same person: nothing is drawn anew
  if (before && (before.id !== id || before.roles.join() !== roles.join())) person.set(person.value + 1);
  viewer.set({ id, roles, admin: roles.includes('admin'), refused: false });
}

export function refuse(): void {
  const before = viewer.value ?? { id: null, roles: [], admin: false };
  if (!viewer.value?.refused) viewer.set({ ...before, refused: true });
}
