// The pages, in the order of the navigation. The first word of the address names a page; what follows is its own.
import type { ComponentType } from 'preact';
import { Overview } from './overview';

export interface Page {
  path: string; // '' is the address #/
  title: string;
  view: ComponentType;
}

export const pages: readonly Page[] = [
  { path: '', title: 'Overview', view: Overview },
];
