// The pages, in the order of the navigation. The first word of the address names a page; what follows is its own.
import type { ComponentType } from 'preact';
import { Handlers } from './handlers';
import { Overview } from './overview';
import { Schedules } from './schedules';
import { Workers } from './workers';

export interface Page {
  path: string; // '' is the address #/
  title: string;
  view: ComponentType;
}

export const pages: readonly Page[] = [
  { path: '', title: 'Overview', view: Overview },
  { path: 'handlers', title: 'Handlers', view: Handlers },
  { path: 'schedules', title: 'Schedules', view: Schedules },
  { path: 'workers', title: 'Workers', view: Workers },
];
