import type { ComponentChildren } from 'preact';
import { useViewer } from '../viewer';
import { EmptyState } from './EmptyState';

// A part for admins alone: others read that it is, and nothing is asked in their name.
export function ForAdmins({ what, children }: { what: string; children: ComponentChildren }) {
  const viewer = useViewer();
  if (!viewer) return null; // not known yet
  if (viewer.admin) return <>{children}</>;
  return <EmptyState title={`${what} are for admins.`}>You see <a href="#/jobs">your own jobs</a>.</EmptyState>;
}
