import type { ComponentChildren } from 'preact';

export function EmptyState({ title, children }: { title: string; children?: ComponentChildren }) {
  return <div class="empty"><p>{title}</p>{children ? <p class="faint">{children}</p> : null}</div>;
}
