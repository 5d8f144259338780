// The pages, in the order of the navigation. The first word of the address names a page; what follows is its own.
import type { ComponentType } from 'preact';
import type { Shell } from '../generated/shell';
import { Batches } from './batches';
import { Failures } from './failures';
import { Handlers } from './handlers';
import { Jobs } from './jobs';
import { Mail } from './mail';
import { Overview } from './overview';
import { Schedules } from './schedules';
import { Send } from './send';
import { Workers } from './workers';

export interface Page {
  path: string; // '' is the address #/
  title: string;
  view: ComponentType;
  when?: (system: Shell['system']) => boolean; // whether the navigation has it; without: always
}

export const pages: readonly Page[] = [
  { path: '', title: 'Overview', view: Overview },
  { path: 'jobs', title: 'Jobs', view: Jobs },
  { path: 'failures', title: 'Failures', view: Failures },
  { path: 'handlers', title: 'Handlers', view: Handlers },
  { path: 'schedules', title: 'Schedules', view: Schedules },
  { path: 'workers', title: 'Workers', view: Workers },
  { path: 'batches', title: 'Batches', view: Batches },
  { path: 'send', title: 'Send', view: Send },
  { path: 'mail', title: 'Mail', view: Mail, when: ({ mailed }) => mailed !== null },
];
